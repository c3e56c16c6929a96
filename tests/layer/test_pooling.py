"""Pools against pooling by im2col, and the rules of their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.layer.pooling import pool2d

BY_COLUMNS = {
    "max": lambda columns: columns.amax(2),
    "average": lambda columns: columns.mean(2),
    "min": lambda columns: columns.amin(2),
    "l2": lambda columns: columns.square().sum(2).sqrt(),
}


@pytest.mark.parametrize("kind", BY_COLUMNS)
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_pools_equal_im2col(kind, kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 8).double()
    out = pool2d(kind, kernel, stride)(x)
    columns = F.unfold(x, kernel, stride=stride).view(2, 3, kernel * kernel, -1)
    torch.testing.assert_close(out, BY_COLUMNS[kind](columns).view_as(out))
    torch.testing.assert_close(pool2d(kind, kernel, stride)(x.contiguous(memory_format=torch.channels_last)), out)


def test_the_stride_is_the_kernel_if_not_given():
    for kind in BY_COLUMNS:
        assert pool2d(kind, 2)(torch.ones(1, 1, 6, 6)).shape == (1, 1, 3, 3)


def test_values_of_one_window():
    x = torch.tensor([[1.0, -2.0], [4.0, 2.0]])[None, None]
    assert [pool2d(kind, 2)(x).item() for kind in ("max", "average", "min", "l2")] == [4.0, 1.25, -2.0, 5.0]


def test_overlapping_pools_of_alexnet():
    x = torch.arange(25.0).view(1, 1, 5, 5)
    assert pool2d("max", 3, 2)(x)[0, 0].tolist() == [[12, 14], [22, 24]]
    assert output(55) == 27 and output(27) == 13 and output(13) == 6


def output(size):
    return pool2d("max", 3, 2)(torch.zeros(1, 1, size, size)).shape[-1]


def gradient(pool, x):
    x = x.clone().requires_grad_()
    pool(x).sum().backward()
    return x.grad[0, 0]


def test_max_and_min_send_the_error_to_one_pixel_and_average_spreads_it_evenly():
    x = torch.tensor([[1.0, -2.0], [4.0, 2.0]]).double()[None, None]
    assert gradient(pool2d("max", 2), x).tolist() == [[0, 0], [1, 0]]
    assert gradient(pool2d("min", 2), x).tolist() == [[0, 1], [0, 0]]
    assert gradient(pool2d("average", 2), x).tolist() == [[0.25, 0.25], [0.25, 0.25]]
    torch.testing.assert_close(gradient(pool2d("l2", 2), x), x[0, 0] / 5)


def test_the_l2_norm_of_zeros_has_no_error():
    """Behind a ReLU there are many windows of zeros; a root's slope there is infinite."""
    assert torch.equal(gradient(pool2d("l2", 2), torch.zeros(1, 1, 2, 2)), torch.zeros(2, 2))


def test_a_global_average_in_place_of_flatten():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 4).double()
    torch.testing.assert_close(nn.AdaptiveAvgPool2d(1)(x).flatten(1), x.flatten(2).mean(2))
