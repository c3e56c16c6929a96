"""CifarResNet: depths and shortcuts."""

import pytest
import torch

from cnntrain.errors import ConfigError
from cnntrain.layer.residual import PaddedShortcut
from cnntrain.model.cifar_resnet import CifarResNet


def count(**config):
    """Parameters of the net at 3 channels and 10 classes."""
    with torch.device("meta"):
        net = CifarResNet(**config, in_channels=3, num_classes=10)
    return sum(parameter.numel() for parameter in net.parameters())


def test_the_papers_deepest():
    assert count(depth=1202) == 19_421_274


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
