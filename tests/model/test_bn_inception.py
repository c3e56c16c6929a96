"""BN-Inception: its modules' figures, sizes, and starting weights."""

import pytest
import torch
from torch import nn

from cnntrain.model.bn_inception import BNInception, Inception

CHANNELS = [256, 320, 576, 576, 576, 576, 576, 1024, 1024, 1024]  # "output size" of the paper's figure 5


def on_meta(image_size, **arguments):
    with torch.device("meta"):
        return BNInception(in_channels=3, num_classes=1000, image_size=image_size, **arguments).eval()


def maps(net, image_size):
    """(channels, height, width) after each module."""
    seen = []
    for module in net.inception:
        module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    net(torch.empty(1, 3, image_size, image_size, device="meta"))
    return seen


@pytest.mark.parametrize(
    ("image_size", "sizes"),
    [
        (224, [28] * 2 + [14] * 5 + [7] * 3),
        (32, [32] * 2 + [16] * 5 + [8] * 3),
        (225, [29] * 2 + [15] * 5 + [8] * 3),
        (33, [33] * 2 + [17] * 5 + [9] * 3),
    ],
)
def test_map_sizes(image_size, sizes):
    assert maps(on_meta(image_size), image_size) == [(c, size, size) for c, size in zip(CHANNELS, sizes, strict=True)]


def test_parameter_count():
    assert sum(parameter.numel() for parameter in on_meta(224).parameters()) == 11_194_984  # SPEC N9


def test_the_5x5_is_two_3x3():
    with torch.device("meta"):
        module = Inception(192, "3a")
    kernels = [layer.conv.kernel_size[0] for layer in module.branches[2]]
    assert kernels == [1, 3, 3]
    five = 64 * 96 * 25  # what one 5×5 in their place would have
    assert sum(layer.conv.weight.numel() for layer in list(module.branches[2])[1:]) == 64 * 96 * 9 + 96 * 96 * 9 < five


def test_a_reduction_passes_the_pooled_map_through():
    module = Inception(8, "3c").eval()
    x = torch.randn(1, 8, 6, 6)
    out = module(x)
    assert out.shape == (1, 160 + 96 + 8, 3, 3)
    assert torch.equal(out[:, -8:], nn.functional.max_pool2d(x, 3, 2, padding=1))


def test_the_pools_are_those_of_the_figure():
    kinds = [[type(pool) for pool in module.modules() if isinstance(pool, nn.MaxPool2d | nn.AvgPool2d)] for module in on_meta(32).inception]
    average, largest = [nn.AvgPool2d], [nn.MaxPool2d]
    assert kinds == [average, average, largest, average, average, average, average, largest, average, largest]


def test_starting_weights():
    torch.manual_seed(0)
    net = BNInception(in_channels=3, num_classes=10, image_size=32)
    weight = net.inception[-1].branches[1][1].conv.weight  # 192 channels, 3×3
    assert weight.std().item() == pytest.approx((2 / (192 * 9)) ** 0.5, rel=0.01)
