"""What every shipped `conf/model/*.yaml` must do: the contract of `cnntrain/model/__init__.py`, and the parameter counts of SPEC."""

import importlib
import inspect
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

CONF = Path(__file__).parents[2] / "conf" / "model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
FACTS = {"in_channels", "num_classes", "image_size"}

# SPEC section N: channels, classes, image size, trainable parameters (torchvision: mobilenet_v3_large as torchvision documents it; the
# speed-run nets: as the convolutions, biases and classifier of the paper's code add up, the whitening filters included)
COUNTS = {
    "lenet5": (1, 10, 32, 61_706),
    "simple_convnet": (1, 10, 28, 433_890),
    "cats_dogs_cnn": (3, 2, 300, 438_842),
    "resnet18": (3, 1000, 224, 11_689_512),
    "resnet34": (3, 1000, 224, 21_797_672),
    "resnet50": (3, 1000, 224, 25_557_032),
    "resnet101": (3, 1000, 224, 44_549_160),
    "resnet152": (3, 1000, 224, 60_192_808),
    "resnet20": (3, 10, 32, 269_722),
    "resnet32": (3, 10, 32, 464_154),
    "resnet44": (3, 10, 32, 658_586),
    "resnet56": (3, 10, 32, 853_018),
    "resnet110": (3, 10, 32, 1_727_962),
    "torchvision": (3, 1000, 224, 5_483_032),
    "airbench94": (3, 10, 32, 1_971_640),
    "airbench96": (3, 10, 32, 9_915_704),
    "speedrun": (3, 10, 32, 294_648),
}
# the smallest image that works, or a small one where any does; 8 for nets that fit any size
SIZES = {"lenet5": 12, "simple_convnet": 6, "cats_dogs_cnn": 6, "torchvision": 32, "airbench94": 9, "airbench96": 9, "speedrun": 9}


def build(name: str, *, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """The net that a YAML describes, called as a Recipe does: its keys, and those facts that the signature names."""
    node = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    module, _, attribute = node.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), attribute)
    facts = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
    parameters = set(inspect.signature(target).parameters)
    assert set(node) == parameters - FACTS, f"{name}.yaml must list every parameter of its target"
    return target(**node, **{key: value for key, value in facts.items() if key in parameters})


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    """One model after another, so that all its tests share one net."""
    return request.param


@pytest.fixture(scope="module")
def net(name):
    """A net of 2 channels and 3 classes: neither is anybody's default."""
    torch.manual_seed(0)
    return build(name, in_channels=2, num_classes=3, image_size=SIZES.get(name, 8))


@pytest.fixture
def images(name):
    """A seeded batch of 4."""
    return torch.randn(4, 2, SIZES.get(name, 8), SIZES.get(name, 8), generator=torch.Generator().manual_seed(1))


def test_parameter_count_is_that_of_the_specification(name):
    in_channels, num_classes, image_size, expected = COUNTS[name]
    with torch.device("meta"):
        net = build(name, in_channels=in_channels, num_classes=num_classes, image_size=image_size)
    assert sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad) == expected


def test_backward_reaches_every_parameter(net, images):
    net.train().zero_grad()
    logits = net(images)
    assert logits.shape == (4, 3)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    unreached = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not unreached


def test_evaluation_is_deterministic_and_the_same_in_channels_last(net, images):
    net.train()
    net(images)  # training before must leave a net that evaluates
    net.eval()
    with torch.no_grad():
        before = {key: value.clone() for key, value in net.named_buffers()}
        first, second = net(images), net(images)
        assert first.shape == (4, 3) and torch.isfinite(first).all()
        assert torch.equal(first, second)
        assert torch.allclose(net(images[:1]), first[:1], rtol=1e-3, atol=1e-4), "a sample's logits depend on the batch"
        net.to(memory_format=torch.channels_last)
        last = net(images.contiguous(memory_format=torch.channels_last))
        net.to(memory_format=torch.contiguous_format)
        assert torch.allclose(first, last, rtol=1e-3, atol=1e-4), "the memory format changes the result"
        assert all(torch.equal(before[key], value) for key, value in net.named_buffers()), "evaluation changed a buffer"


def test_trains_in_channels_last(net, images):
    net.train().zero_grad()
    net.to(memory_format=torch.channels_last)
    net(images.contiguous(memory_format=torch.channels_last)).sum().backward()
    net.to(memory_format=torch.contiguous_format)
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_state_dict_is_the_whole_function(name, net, images):
    torch.manual_seed(5)
    other = build(name, in_channels=2, num_classes=3, image_size=SIZES.get(name, 8))
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net.eval()(images), other.eval()(images))


def test_choices_are_words(net):
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in getattr(net, "choices", {}).items())


def test_every_model_file_has_a_yaml():
    targets = {yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"] for path in CONF.glob("*.yaml")}
    files = {path.stem for path in (Path(__file__).parents[2] / "cnntrain" / "model").glob("*.py")} - {"__init__"}
    assert files == {target.split(".")[2] for target in targets}
    assert set(COUNTS) == set(NAMES)
