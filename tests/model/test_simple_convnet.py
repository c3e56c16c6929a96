"""SimpleConvNet: its knobs change what they name, and padding follows SPEC L2."""

import pytest
import torch

from cnntrain.errors import ConfigError
from cnntrain.model.simple_convnet import SimpleConvNet

FACTS = {"in_channels": 1, "num_classes": 10, "image_size": 28}


def test_starting_weights():
    torch.manual_seed(0)
    net = SimpleConvNet(weight_init_std=0.02, **FACTS)
    assert net.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not net.conv1.bias.any() and not net.fc1.bias.any() and not net.fc2.bias.any()


def test_knobs():
    net = SimpleConvNet(filter_num=7, filter_size=3, stride=2, pad=1, hidden_size=11, **FACTS)
    assert net.conv1.weight.shape == (7, 1, 3, 3) and net.conv1.stride == (2, 2) and net.fc2.weight.shape == (10, 11)
    assert net.fc1.weight.shape == (11, 7 * 7 * 7)  # 28 → 14 → 7
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


@pytest.mark.parametrize(("pad", "size"), [("same", 7), ("valid", 6), ("full", 8), (2, 7), (0, 6)])
def test_padding_with_a_stride(pad, size):
    net = SimpleConvNet(pad=pad, stride=2, **FACTS)  # same: 14 → 7; valid: 12 → 6; full: 16 → 8
    assert net.fc1.in_features == 30 * size * size
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_an_uneven_same_pads_more_at_the_end():
    net = SimpleConvNet(filter_num=1, filter_size=2, pad="same", **FACTS)
    net.conv1.weight.data.fill_(1)
    seen = []
    net.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net(torch.ones(1, 1, 28, 28))
    assert seen[0].shape == (1, 1, 28, 28)
    assert seen[0][0, 0, 0, 0] == 4 and seen[0][0, 0, -1, -1] == 1


def test_too_small_an_image():
    with pytest.raises(ConfigError, match="layer conv1 .*data.image_size=6,"):
        SimpleConvNet(in_channels=1, num_classes=10, image_size=4)
    with pytest.raises(ConfigError, match="layer pool1 .*data.image_size=6,"):
        SimpleConvNet(in_channels=1, num_classes=10, image_size=5)
