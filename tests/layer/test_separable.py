"""Separable convolutions: what they equal, and what they save."""

import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.engine.shapes import layer_table, totals
from cnntrain.layer.separable import DepthwiseSeparable, SpatiallySeparable


def weights(layer):
    return sum(value.numel() for value in layer.parameters())


def test_depthwise_separable_equals_the_dense_convolution_of_products():
    torch.manual_seed(0)
    layer, x = DepthwiseSeparable(4, 6, 3, stride=2, dilation=2, bias=True).double(), torch.randn(2, 4, 9, 9).double()
    dense = layer.pointwise.weight * layer.depthwise.weight.transpose(0, 1)  # (6, 4, 1, 1) · (1, 4, 3, 3)
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, layer.pointwise.bias, 2, 2, 2))


def test_the_summary_counts_both_kinds_of_multiply_adds():
    size, before, after, kernel = 16, 8, 24, 3
    sums = totals(layer_table(nn.Sequential(DepthwiseSeparable(before, after, kernel)), before, size, 2))
    assert sums.multiply_adds == size * size * before * kernel**2 + size * size * before * after
    assert sums.dense_multiply_adds == size * size * before * after * kernel**2


def test_spatially_separable_equals_the_dense_convolution_of_outer_products():
    torch.manual_seed(0)
    for stride in (1, 2):
        layer, x = SpatiallySeparable(3, 5, 7, stride=stride, bias=True).double(), torch.randn(2, 3, 11, 12).double()
        torch.testing.assert_close(layer(x), F.conv2d(x, layer.dense_weight(), layer.row.bias, stride, 3))
        last = layer(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, layer(x))
    assert all(torch.linalg.matrix_rank(kernel) == 1 for kernel in layer.dense_weight().flatten(0, 1))


def test_a_stem_of_rank_one_kernels_has_the_weights_of_the_specification():
    assert weights(SpatiallySeparable(3, 64, 7)) == (7 + 7) * 64 * 3 == 2_688
    assert weights(nn.Conv2d(3, 64, 7, bias=False)) == 9_408
    with torch.device("meta"):
        assert SpatiallySeparable(3, 64, 7, stride=2)(torch.zeros(1, 3, 224, 224)).shape == (1, 64, 112, 112)
