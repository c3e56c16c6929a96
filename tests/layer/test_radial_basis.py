"""Distances to the fixed codes of LeNet-5's classes."""

import pytest
import torch

from cnntrain.layer.radial_basis import RadialBasis, digit_codes, random_codes


@pytest.mark.parametrize("num_classes", [2, 10, 200])
def test_codes_are_signs_and_all_different(num_classes):
    codes = RadialBasis(num_classes).codes
    assert codes.shape == (num_classes, 84) and (codes.abs() == 1).all()
    distances = torch.cdist(codes, codes).square() / 4  # in how many places two differ
    assert (distances + 100 * torch.eye(num_classes)).min() >= (5 if num_classes == 10 else 20)


def test_ten_classes_have_the_pictures_of_the_digits():
    one, seven = (torch.tensor(digit_codes()[digit]).view(12, 7) for digit in (1, 7))
    assert torch.equal(one[2:10, 3:5], torch.ones(8, 2))  # an upright stroke
    assert torch.equal(seven[1], torch.ones(7)) and (seven[10, 4:] < 0).all()
    likeness = torch.tensor(digit_codes()) @ torch.tensor(digit_codes()).T
    assert likeness[8, 9] > likeness[8, 1] and likeness[5, 6] > likeness[5, 4]  # what looks alike is near


def test_distances():
    layer = RadialBasis(10)
    x = torch.randn(3, 84)
    expected = [[sum((a - b) ** 2 for a, b in zip(row, code, strict=True)) for code in digit_codes()] for row in x.tolist()]
    torch.testing.assert_close(layer(x), torch.tensor(expected))
    assert not layer(layer.codes).diagonal().any()
    assert not list(layer.parameters()) and "codes" in layer.state_dict()


def test_codes_are_the_same_for_ever():
    assert random_codes(30)[:20] == random_codes(20)
    assert "".join("+" if sign > 0 else "-" for sign in random_codes(1)[0][:10]) == "--++-+-++-"
