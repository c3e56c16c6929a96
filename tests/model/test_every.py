"""What every shipped `conf/model/*.yaml` must do: the contract of `cnntrain/model/__init__.py`, and the figures of the ledger."""

from pathlib import Path

import pytest
import torch
import yaml
from model.entries import CONF, build, give_statistics, read, twin
from torch import Tensor, nn

from cnntrain.engine.shapes import check_shapes
from cnntrain.errors import ConfigError

ENTRIES = read()
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
LARGE = 30_000_000  # parameters: whose own starting weights take too long to draw in every test
HEAVY = {name for name in NAMES if name in ENTRIES and (ENTRIES[name].parameters > LARGE / 2 or name == "resnet1202")}
TWINS = [name for name in NAMES if name in ENTRIES and ENTRIES[name].twin]


def parameters(net: nn.Module) -> int:
    """The trainable ones."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def heads(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The main output, and the auxiliary ones."""
    return output if isinstance(output, tuple) else (output,)


def every(*, quick: set[str]) -> pytest.MarkDecorator:
    """All models, one after another, so that all tests of one share its net; those that are not ``quick`` in the slow share."""
    return pytest.mark.parametrize(
        "name", [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES], indirect=True, scope="module"
    )


@pytest.fixture(scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def net(name):
    """A net of 2 channels and 3 classes: neither is anybody's default."""
    torch.manual_seed(0)
    if ENTRIES[name].parameters < LARGE:
        return build(name, in_channels=2, num_classes=3, image_size=ENTRIES[name].smallest)
    with torch.device("meta"):
        net = build(name, in_channels=2, num_classes=3, image_size=ENTRIES[name].smallest)
    return with_numbers(net)


def with_numbers(net: nn.Module) -> nn.Module:
    """A net from the meta device with weights of He's deviation, batch norms that do nothing yet, and buffers of zeros."""
    net.to_empty(device="cpu")
    for value in [*net.parameters(), *net.buffers()]:
        nn.init.zeros_(value)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            bound = (6 / parameter[0].numel()) ** 0.5
            nn.init.uniform_(parameter, -bound, bound)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return net


@pytest.fixture
def images(name):
    """A seeded batch of 4."""
    size = ENTRIES[name].smallest
    return torch.randn(4, 2, size, size, generator=torch.Generator().manual_seed(1))


def shape(name: str, images: Tensor) -> tuple[int, ...]:
    """What must come out."""
    return tuple(images.shape) if ENTRIES[name].output == "images" else (len(images), 3)


@every(quick=set(NAMES))
def test_parameter_count_is_that_of_the_ledger(name):
    entry = ENTRIES[name]
    with torch.device("meta"):
        net = build(name, **entry.facts)
    with_heads = parameters(net)
    assert with_heads == (entry.with_heads or entry.parameters)
    if entry.with_heads:
        size = entry.at[2]
        outputs = net.train()(torch.zeros(2, entry.at[0], size, size, device="meta"))
        assert isinstance(outputs, tuple) and all(logits.shape == (2, entry.at[1]) for logits in outputs)
        used = evaluated(net, entry.at)
        assert sum(p.numel() for p in net.parameters() if id(p) in used) == entry.parameters


def evaluated(net: nn.Module, at: list[int]) -> set[int]:
    """The identities of the parameters of all modules that run in evaluation."""
    used: set[int] = set()
    hooks = [
        module.register_forward_hook(lambda module, *_: used.update(id(p) for p in module.parameters(recurse=False)))
        for module in net.modules()
    ]
    net.eval()(torch.zeros(2, at[0], at[2], at[2], device="meta"))
    for hook in hooks:
        hook.remove()
    return used


@every(quick=set(NAMES))
def test_one_training_step_reaches_every_parameter(name, net, images):
    torch.manual_seed(2)  # dropout and drop-path: the same whatever ran before
    net.train().zero_grad()
    net.to(memory_format=torch.channels_last)
    outputs = heads(net(images.contiguous(memory_format=torch.channels_last)))
    assert all(tuple(output.shape) == shape(name, images) for output in outputs)
    labels = torch.tensor([0, 1, 2, 0])
    loss = sum(
        nn.functional.cross_entropy(logits, labels) if logits.dim() == 2 else (logits - images).square().mean() for logits in outputs
    )
    loss.backward()
    net.to(memory_format=torch.contiguous_format)
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    unreached = [key for key, value in net.named_parameters() if value.requires_grad and (value.grad is None or not value.grad.any())]
    assert not unreached


@every(quick=set(NAMES) - HEAVY)
def test_evaluation_is_deterministic_and_the_same_in_channels_last(name, net, images):
    net.train()
    with torch.no_grad():
        net(images)  # training before must leave a net that evaluates
        net.eval()
        before = {key: value.clone() for key, value in net.named_buffers()}
        first, second = net(images), net(images)
        assert tuple(first.shape) == shape(name, images) and torch.isfinite(first).all()
        assert torch.equal(first, second)
        assert torch.allclose(net(images[:1]), first[:1], rtol=1e-3, atol=1e-4), "a sample's output depends on the batch"
        net.to(memory_format=torch.channels_last)
        last = net(images.contiguous(memory_format=torch.channels_last))
        net.to(memory_format=torch.contiguous_format)
        assert torch.allclose(first, last, rtol=1e-3, atol=1e-4), "the memory format changes the result"
        assert all(torch.equal(before[key], value) for key, value in net.named_buffers()), "evaluation changed a buffer"


@every(quick=set(NAMES) - HEAVY)
def test_state_dict_is_the_whole_function(name, net, images):
    if ENTRIES[name].parameters < LARGE:
        torch.manual_seed(5)
        other = build(name, in_channels=2, num_classes=3, image_size=ENTRIES[name].smallest)
        other.load_state_dict(net.state_dict())
    else:
        with torch.device("meta"):
            other = build(name, in_channels=2, num_classes=3, image_size=ENTRIES[name].smallest)
        other.load_state_dict(net.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(net.eval()(images), other.eval()(images))


@every(quick=set(NAMES))
def test_choices_are_words(net):
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in getattr(net, "choices", {}).items())


@pytest.mark.parametrize("name", TWINS)
def test_torchvisions_weights_fit_by_name_and_shape(name):
    with torch.device("meta"):
        ours = build(name, **ENTRIES[name].facts).state_dict()
        theirs = twin(ENTRIES[name], ENTRIES[name].at[1]).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize(
    "name", [name if ENTRIES[name].parameters < 15_000_000 else pytest.param(name, marks=pytest.mark.slow) for name in TWINS]
)
def test_torchvisions_weights_give_the_same_logits(name):
    torch.manual_seed(0)
    entry = ENTRIES[name]
    size = entry.at[2] if entry.with_heads else max(65, entry.smallest)  # 64 is what `stem: auto` takes for small
    reference = with_numbers(twin(entry, 5))
    give_statistics(reference)
    for module in reference.modules():  # no chance
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.device("meta"):
        net = build(name, in_channels=3, num_classes=5, image_size=size)
    # as a pretrained net is built, which needs the larger form even for small pictures
    net.load_state_dict(reference.state_dict(), assign=True)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = torch.randn(2, 3, size, size)
    for training in (False, True):
        ours, theirs = heads(net.train(training)(images)), heads(reference.train(training)(images))
        assert len(ours) == len(theirs)
        for own, other in zip(ours, sorted_heads(name, theirs), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5 * max(1.0, other.abs().max().item()))


def sorted_heads(name: str, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """torchvision's GoogLeNet names its later head first."""
    return (outputs[0], *reversed(outputs[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_the_smallest_image_is_the_smallest_that_a_run_accepts(name):
    entry = ENTRIES[name]

    def check(image_size: int) -> None:
        output = entry.at[1] if entry.output == "logits" else "images"
        check_shapes(lambda size: build(name, **entry.facts | {"image_size": size}), entry.at[0], image_size, output)

    check(entry.smallest)
    with pytest.raises(ConfigError, match=rf"data.image_size={entry.smallest},"):
        check(entry.smallest - 1)


def test_every_model_file_has_a_yaml_and_every_yaml_an_entry():
    families = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"].split(".")[2] for path in CONF.glob("*.yaml")}
    assert {path.stem for path in (Path(__file__).parents[2] / "cnntrain" / "model").glob("*.py")} - {"__init__"} == set(families.values())
    assert {name: entry.family for name, entry in ENTRIES.items()} == families
