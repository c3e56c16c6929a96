"""Maxout behind dense and convolutional layers, and across kernel sizes."""

import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.layer.maxout import Maxout, MultiScaleMaxout


def test_a_dense_unit_is_the_largest_of_its_pieces():
    torch.manual_seed(0)
    dense, x = nn.Linear(4, 3 * 5).double(), torch.randn(6, 4).double()
    out = Maxout(5)(dense(x))
    pieces = torch.stack([x @ dense.weight[p * 3 : p * 3 + 3].T + dense.bias[p * 3 : p * 3 + 3] for p in range(5)])
    torch.testing.assert_close(out, pieces.amax(0))


def test_two_pieces_can_be_an_absolute_value_or_a_relu():
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(Maxout(2)(torch.cat([x, -x], dim=1)), x.abs())
    assert torch.equal(Maxout(2)(torch.cat([x, 0 * x], dim=1)), x.relu())


def test_a_convolutional_unit_in_any_memory_format():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 4)
    out = Maxout(2)(x)
    assert torch.equal(out, torch.maximum(x[:, :3], x[:, 3:]))
    last = Maxout(2)(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(last, out) and last.is_contiguous(memory_format=torch.channels_last)


def test_kernels_of_different_sizes_compete():
    torch.manual_seed(0)
    layer, x = MultiScaleMaxout(2, 3, (1, 3, 5)).double(), torch.randn(4, 2, 6, 6).double()
    layer.eval()
    maps = [F.conv2d(x, branch[0].weight, padding=branch[0].kernel_size[0] // 2) / (1 + 1e-5) ** 0.5 for branch in layer.branches]
    torch.testing.assert_close(layer(x), torch.stack(maps).amax(0))
    assert [branch[0].kernel_size[0] for branch in layer.branches] == [1, 3, 5]
