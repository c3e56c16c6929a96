"""Shapes without numbers: that a rule gives torch's own, and leaves what is wrong to it."""

import pytest
import torch
import torch.nn.functional as F

from cnntrain.engine.rules import outcome


@pytest.mark.parametrize("sides", [(1, 1, 1, 1), (0, 2, 3, 1), (5, 0, 0, 4)])
def test_a_mirrored_border(sides):
    image = torch.zeros(2, 3, 5, 6)
    assert outcome("reflection_pad2d", (image.to("meta"), list(sides)), {}, None).shape == F.pad(image, sides, mode="reflect").shape


@pytest.mark.parametrize("sides", [(6, 0, 0, 0), (0, 6, 0, 0), (0, 0, 5, 0), (0, 0, 0, 5)])
def test_a_mirrored_border_wider_than_the_map_is_left_to_torch(sides):
    image = torch.zeros(2, 3, 5, 6)
    assert outcome("reflection_pad2d", (image.to("meta"), list(sides)), {}, None) is None
    with pytest.raises(RuntimeError):
        F.pad(image, sides, mode="reflect")


def test_an_empty_tensor_of_the_same_shape():
    made = outcome("empty_like", (torch.zeros(2, 3, device="meta"),), {}, None)
    assert made.is_meta and made.shape == (2, 3)


@pytest.mark.parametrize("name", ["mean", "sum"])
@pytest.mark.parametrize(("dims", "keep"), [([2], False), ([0, -1], True), ([], False)])
def test_means_and_sums(name, dims, keep):
    values = torch.zeros(2, 3, 4)
    assert outcome(name, (values.to("meta"), dims, keep), {}, None).shape == getattr(values, name)(dims, keep).shape
