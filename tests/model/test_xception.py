"""Xception: the paper's counts and sizes, and what a shortcut is added to."""

import pytest
import torch
from torch import nn

from cnntrain.layer.separable import DepthwiseSeparable
from cnntrain.model.xception import Xception, XceptionModule


def meta(**changes):
    with torch.device("meta"):
        return Xception(**{"in_channels": 3, "num_classes": 1000, "image_size": 299, **changes})


def test_layers_and_parameters_of_the_paper():
    """36 convolutional layers (the shortcuts' apart), and table 3's 22,855,952 parameters."""
    net = meta()
    layers = [name for name, module in net.named_modules() if isinstance(module, DepthwiseSeparable)] + ["conv1", "conv2"]
    assert len(layers) == 36
    assert sum(value.numel() for value in net.parameters()) == 22_855_952


@pytest.mark.parametrize(("size", "sizes"), [(299, (147, 19, 10)), (32, (32, 4, 2))])
def test_sizes_on_the_way(size, sizes):
    net, seen = meta(image_size=size), []
    for module in (net.relu2, net.middle, net.relu4):
        module.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2]))
    assert net(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 1000)
    assert tuple(seen) == sizes
    assert ("stride 1" if size == 32 else "stride 2") in net.choices["stem"]


def test_the_shortcut_takes_the_input_as_it_comes():
    """Not through the first ReLU, which an in-place one would do to it (figure 5)."""
    torch.manual_seed(0)
    module = XceptionModule([4, 4, 4], shrink=False).eval()
    x = torch.randn(2, 4, 5, 5)
    before = x.clone()
    with torch.no_grad():
        expected = x + module.layers(x.clone())
        torch.testing.assert_close(module(x), expected)
    assert torch.equal(x, before) and (x < 0).any()
    assert isinstance(module.layers[0], nn.ReLU) and isinstance(XceptionModule([4, 4], first_relu=False).layers[0], DepthwiseSeparable)


def test_starting_weights_are_glorots():
    torch.manual_seed(0)
    net = Xception(middle_blocks=1, in_channels=3, num_classes=10, image_size=32)
    pointwise, depthwise = net.conv4.pointwise.weight, net.conv4.depthwise.weight
    assert pointwise.abs().max().item() == pytest.approx((6 / (1536 + 2048)) ** 0.5, rel=0.01)
    assert depthwise.abs().max().item() == pytest.approx((6 / (9 + 9 * 1536)) ** 0.5, rel=0.01)
    assert not net.fc.bias.any() and {norm.eps for norm in net.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.001}
