"""The trained subsampling (SPEC L10): its formula, and the closed forms of its derivatives against autograd in double precision."""

import pytest
import torch

from cnntrain.layer.subsampling import Subsampling


def layer_of(channels, size):
    torch.manual_seed(0)
    layer = Subsampling(channels, size=size).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


def down(x, size):
    """Block by block, by hand."""
    height, width = x.shape[2] // size, x.shape[3] // size
    rows = [[x[:, :, r * size : (r + 1) * size, c * size : (c + 1) * size].sum((2, 3)) for c in range(width)] for r in range(height)]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_formula(size):
    layer, x = layer_of(4, size), torch.randn(2, 4, 6, 9, dtype=torch.float64)
    expected = layer.weight[:, None, None] * down(x, size) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("f", [torch.sigmoid, torch.tanh])
def test_closed_forms_of_the_derivatives(size, f):
    layer = layer_of(3, size)
    below = torch.randn(5, 3, 2 * size, 3 * size, dtype=torch.float64, requires_grad=True)  # the net input of the layer below
    target = torch.randn(5, 3, 2, 3, dtype=torch.float64)
    x = f(below)
    u = layer(x)
    error = (target - f(u)).square().sum() / 2
    error.backward()
    slope = {torch.sigmoid: lambda v: f(v) * (1 - f(v)), torch.tanh: lambda v: 1 - f(v) ** 2}[f]
    with torch.no_grad():
        delta = slope(u) * (f(u) - target)
        up = torch.kron(delta, torch.ones(size, size, dtype=torch.float64))
        torch.testing.assert_close(layer.bias.grad, delta.sum((0, 2, 3)))
        torch.testing.assert_close(layer.weight.grad, (delta * down(x, size)).sum((0, 2, 3)))
        torch.testing.assert_close(below.grad, layer.weight[:, None, None] * (slope(below) * up))


def test_starts_as_an_average():
    layer, x = Subsampling(2, size=3), torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(layer(x), torch.nn.functional.avg_pool2d(x, 3))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 4


def test_what_fills_no_block_is_left_out():
    layer, x = Subsampling(1), torch.randn(1, 1, 5, 5, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (1, 1, 2, 2) and x.grad[0, 0, :4, :4].all() and not x.grad[0, 0, 4].any() and not x.grad[0, 0, :, 4].any()


def test_the_memory_format_is_kept():
    x = torch.randn(2, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    assert Subsampling(6)(x).is_contiguous(memory_format=torch.channels_last)
