"""CifarResNet: depths, shortcuts, plain nets, stochastic depth."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.drop_path import DropPath
from cnntrain.layer.residual import PaddedShortcut
from cnntrain.model.cifar_resnet import CifarResNet


def count(**config):
    """Parameters of the net at 3 channels and 10 classes."""
    with torch.device("meta"):
        net = CifarResNet(**config, in_channels=3, num_classes=10)
    return sum(parameter.numel() for parameter in net.parameters())


def test_shortcuts_by_arithmetic():
    projection = {16: 16 * 32 + 2 * 32, 32: 32 * 64 + 2 * 64}
    assert count(depth=20, shortcut="B") == 269_722 + sum(projection.values())
    same = {width: width * width + 2 * width for width in (16, 32, 64)}
    assert count(depth=20, shortcut="C") == count(depth=20, shortcut="B") + 3 * same[16] + 2 * same[32] + 2 * same[64]


def test_shortcut_a_only_where_the_shape_changes():
    net = CifarResNet(depth=8, in_channels=3, num_classes=10)
    assert sum(isinstance(module, PaddedShortcut) for module in net.modules()) == 2


@pytest.mark.parametrize(("depth", "fix"), [(18, 20), (21, 20), (1, 8), (2, 8), (111, 110)])
def test_depth_must_be_6n_and_2(depth, fix):
    with pytest.raises(ConfigError, match=rf"model\.depth={fix}$"):
        CifarResNet(depth=depth, in_channels=3, num_classes=10)


@pytest.mark.parametrize("depth", [20, 56])
def test_plain_nets_have_the_counts_of_the_residual_ones(depth):
    """SPEC N12: shortcut A has no parameters."""
    assert count(depth=depth, shortcut="none") == count(depth=depth)


def test_plain_net_is_its_layers_one_after_another():
    torch.manual_seed(0)
    net = CifarResNet(depth=8, shortcut="none", in_channels=3, num_classes=2).eval()
    layers = [
        module for module in net.modules() if not isinstance(module, nn.Identity) and next(module.children(), None) is None
    ]  # in the order of the definition
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(net(images), nn.Sequential(*layers)(images))


def test_stochastic_depth_is_of_training_alone():
    torch.manual_seed(0)
    net = CifarResNet(depth=14, stochastic_depth=0.6, in_channels=3, num_classes=2)
    same = CifarResNet(depth=14, in_channels=3, num_classes=2)
    same.load_state_dict(net.state_dict())
    rates = [module.rate for module in net.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    images = torch.randn(8, 3, 8, 8)
    assert not torch.allclose(net(images), same(images))
    same.load_state_dict(net.state_dict())
    assert torch.equal(net.eval()(images), same.eval()(images))


@pytest.mark.parametrize(("knob", "value", "fix"), [("zero_init_residual", True, "false"), ("stochastic_depth", 0.5, "0.0")])
def test_what_needs_shortcuts_says_so(knob, value, fix):
    with pytest.raises(ConfigError, match=rf"model\.{knob}={fix}$"):
        CifarResNet(depth=8, shortcut="none", in_channels=3, num_classes=10, **{knob: value})
