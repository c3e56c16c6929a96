"""The contract of conf/augment, held by every operation in it."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from cnntrain.draws import BatchDraws, Draws

FOLDER = Path(__file__).parents[2] / "conf" / "augment"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "progressive")  # which changes the size: test_progressive.py
PER_BATCH = {"mixup", "cutmix"}
SHAPES = [(1, 1, 9, 9), (5, 1, 28, 28), (6, 3, 17, 17), (1, 3, 32, 32)]
POPULATION, CLASSES = 200, 4


def build(name: str, **changes):
    """The operation as its YAML gives it."""
    node = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert list(node) == [name]
    values = {**node[name], **changes}
    module, target = values.pop("_target_").rsplit(".", 1)
    return getattr(import_module(module), target)(**values)


def at(index: torch.Tensor, *, seed: int = 1, epoch: int = 3, step: int = 7) -> BatchDraws:
    return Draws(seed, POPULATION).at(epoch, step, index)


def batch(shape: tuple[int, ...], layout: torch.memory_format = torch.contiguous_format):
    """Bytes, one-of-c targets and indices."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, generator=source, dtype=torch.uint8).contiguous(memory_format=layout)
    targets = torch.eye(CLASSES)[torch.randint(0, CLASSES, shape[:1], generator=source)]
    return images, targets, torch.randperm(POPULATION, generator=source)[: shape[0]]


def variants():
    """Every operation, and its other forms."""
    yield from ((name, {}) for name in NAMES)
    yield "flip", {"mode": "alternating"}
    yield "crop", {"mode": "reflect"}
    yield "crop", {"padding": 0}
    yield "shift", {"fill": "edge"}
    yield "rotate", {"degrees": 180, "fill": "edge"}
    yield "rotate", {"fill": 1.0}
    yield "color", {"brightness": 2, "contrast": 2, "saturation": 2, "hue": 0.5}
    yield "cutout", {"size": 5, "fill": "mean"}
    yield "noise", {"std": 3}
    yield "cutmix", {"p": 1}


every = pytest.mark.parametrize(("name", "changes"), list(variants()), ids=str)


@every
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_contract(name, changes, shape, layout):
    """Shape, dtype, range and distributions are kept, nothing is changed in place, and the same draws give the same result."""
    operation = build(name, **changes)
    images, targets, index = batch(shape, layout)
    pictures = images.float() / 255
    before = pictures.clone(), targets.clone()
    mixed, labels = operation(pictures, targets, at(index))
    assert torch.equal(pictures, before[0]) and torch.equal(targets, before[1])
    assert mixed.shape == pictures.shape and mixed.dtype == torch.float32
    assert mixed.min() >= 0 and mixed.max() <= 1
    assert labels.shape == targets.shape and labels.min() >= 0
    torch.testing.assert_close(labels.sum(1), torch.ones(shape[0]))
    again, labels_again = operation(pictures, targets, at(index))
    assert torch.equal(mixed, again) and torch.equal(labels, labels_again)

    if getattr(operation, "exact_on_bytes", False):
        mixed_bytes, labels_bytes = operation(images, targets, at(index))
        assert mixed_bytes.dtype == torch.uint8
        assert torch.equal(mixed_bytes.float() / 255, mixed) and torch.equal(labels_bytes, labels)
        assert torch.equal(images, batch(shape, layout)[0])


@every
def test_layout_is_free(name, changes):
    """A picture that is not contiguous gives what its contiguous copy gives."""
    operation = build(name, **changes)
    images, targets, index = batch((6, 3, 17, 17))
    pictures = images.float() / 255
    strided = torch.nn.functional.pad(pictures, (1, 2, 3, 4))[:, :, 3:-4, 1:-2]
    assert not strided.is_contiguous()
    torch.testing.assert_close(operation(strided, targets, at(index))[0], operation(pictures, targets, at(index))[0])


@pytest.mark.parametrize(("name", "changes"), [v for v in variants() if v[0] not in PER_BATCH], ids=str)
def test_sample_decides_not_batch(name, changes):
    """A sample's result is a function of seed, epoch and index; it is the same alone, in any company and at any step."""
    operation = build(name, **changes)
    images, targets, index = batch((12, 3, 16, 16))
    pictures = images.float() / 255
    whole = operation(pictures, targets, at(index))[0]
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))[:7]
    part = operation(pictures[order], targets[order], at(index[order], step=99))[0]
    torch.testing.assert_close(part, whole[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(operation(pictures[3:4], targets[3:4], at(index[3:4]))[0], whole[3:4], rtol=0, atol=1e-6)
    if changes.get("padding") != 0:
        assert not torch.equal(operation(pictures, targets, at(index, epoch=4))[0], whole)
        assert not torch.equal(operation(pictures, targets, at(index, seed=2))[0], whole)


@pytest.mark.parametrize("name", sorted(PER_BATCH))
def test_step_decides_for_a_batch(name):
    """What a batch shares changes with the step."""
    operation = build(name, **({"p": 1} if name == "cutmix" else {}))
    images, targets, index = batch((12, 3, 16, 16))
    results = [operation(images.float() / 255, targets, at(index, step=step))[0] for step in (1, 2)]
    assert not torch.equal(*results)
