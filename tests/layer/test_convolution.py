"""Convolution, norm and ReLU in one: what it computes, sizes, and starting weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.layer.convolution import ConvNormReLU, initialise


@pytest.mark.parametrize(
    ("kernel", "stride", "valid", "size"),
    [
        (1, 1, False, (9, 8)),
        (3, 2, False, (5, 4)),
        (3, 2, True, (4, 3)),
        (7, 2, False, (5, 4)),
        ((1, 7), 1, False, (9, 8)),
        ((7, 1), 1, True, (3, 8)),
    ],
)
def test_it_is_convolution_norm_relu(kernel, stride, valid, size):
    torch.manual_seed(0)
    layer = ConvNormReLU(3, 4, kernel, stride=stride, valid=valid).double()
    x = torch.randn(2, 3, 9, 8, dtype=torch.double)
    out = layer(x)
    assert out.shape == (2, 4, *size)
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    if not valid:
        x = F.pad(x, (width // 2, width // 2, height // 2, height // 2))
    wanted = F.conv2d(x, layer.conv.weight, stride=stride)
    mean, var = wanted.mean((0, 2, 3), keepdim=True), wanted.var((0, 2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(out, ((wanted - mean) / (var + 0.001).sqrt()).relu())


def test_a_bias_stands_where_no_norm_does():
    assert set(ConvNormReLU(3, 4).state_dict()) == {
        *("conv.weight", "bn.weight", "bn.bias"),
        *("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"),
    }
    plain = ConvNormReLU(3, 4, norm=False)
    assert set(plain.state_dict()) == {"conv.weight", "conv.bias"}
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(plain(x), plain.conv(x).relu())


def test_initialise_draws_every_weight_and_clears_every_bias():
    net = nn.Sequential(ConvNormReLU(3, 4, norm=False), ConvNormReLU(4, 4), nn.Flatten(), nn.Linear(4, 2))
    initialise(net, lambda weight: nn.init.constant_(weight, 3.0))
    assert all((net.get_parameter(name) == 3).all() for name in ("0.conv.weight", "1.conv.weight", "3.weight"))
    assert not net[0].conv.bias.any() and not net[3].bias.any()
    assert (net[1].bn.weight == 1).all()
