"""Convolution by im2col (SPEC L12) against torch's, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from layer.im2col import convolution


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_equals_torchs(stride, padding, dilation, groups):
    source = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=source, dtype=torch.float64) for shape in ((2, 4, 9, 11), (8, 4 // groups, 3, 2), (8,))]
    results = []
    for function in (convolution, F.conv2d):
        inputs = [value.clone().requires_grad_() for value in values]
        output = function(*inputs, stride=stride, padding=padding, dilation=dilation, groups=groups)
        output.square().sum().backward()
        results.append([output.detach(), *(value.grad for value in inputs)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_no_bias():
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 5, 5)
    torch.testing.assert_close(convolution(x, weight), F.conv2d(x, weight))
