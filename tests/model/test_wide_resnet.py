"""WideResNet: counts by the paper's table, the pre-activated block, dropout's place."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.wide_resnet import WideBlock, WideBottleneckResNet, WideResNet


def by_table(depth, widen, *, num_classes=10):
    """Parameters by table 1 of the paper: convolutions, two numbers a normed channel, projections where channels change."""
    num_blocks, total, before = (depth - 4) // 6, 3 * 9 * 16, 16
    for width in (16 * widen, 32 * widen, 64 * widen):
        total += 2 * before + 9 * before * width + 2 * width + 9 * width**2 + (before * width if before != width else 0)
        total += (num_blocks - 1) * (4 * width + 18 * width**2)
        before = width
    return total + 2 * before + (before + 1) * num_classes


@pytest.mark.parametrize(("depth", "widen", "millions"), [(40, 1, 0.6), (16, 4, 2.75), (40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)])
def test_counts_are_those_of_the_paper(depth, widen, millions):
    with torch.device("meta"):
        net = WideResNet(depth=depth, widen=widen, in_channels=3, num_classes=10)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert parameters == by_table(depth, widen)
    assert parameters / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_figures_of_the_ledger():
    assert (by_table(28, 10), by_table(40, 4), by_table(16, 4)) == (36_479_194, 8_949_210, 2_748_890)


@pytest.mark.parametrize(("in_channels", "stride"), [(6, 1), (4, 1), (6, 2)])
def test_a_block_is_pre_activated(in_channels, stride):
    torch.manual_seed(0)
    block = WideBlock(in_channels, 6, stride=stride, dropout=0.0).double().train()
    x = torch.randn(2, in_channels, 5, 5, dtype=torch.double)
    kept = x.clone()
    active = block.bn1(x).relu()
    branch = block.conv2(block.bn2(block.conv1(active)).relu())
    way = x if block.projection is None else block.projection(active)
    assert (block.projection is None) == (in_channels == 6 and stride == 1)
    torch.testing.assert_close(block(x), branch + way)
    assert torch.equal(x, kept), "the block changed its input"


def test_dropout_is_between_the_convolutions_and_of_training_alone():
    torch.manual_seed(0)
    block = WideBlock(4, 4, stride=1, dropout=1.0)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block.train()(x), x), "with all dropped the second convolution gets zeros"
    assert not torch.equal(block.eval()(x), x)
    block.dropout.p = 0.5
    assert (block.train()(x) == x).float().mean() < 0.2, "its output is not dropped"


def test_the_starting_weights_are_the_authors():
    torch.manual_seed(0)
    net = WideResNet(depth=10, widen=4, in_channels=3, num_classes=10)
    assert net.layer3[0].conv1.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
    assert not net.fc.bias.any() and net.fc.weight.any()


def test_depth_must_be_6n_and_4():
    with pytest.raises(ConfigError, match=r"6n \+ 4 \(10, 16, 22, …\).*model\.depth=28$"):
        WideResNet(depth=29, widen=1, in_channels=3, num_classes=10)


def test_the_wide_bottlenecks_are_wide_inside():
    with torch.device("meta"):
        net = WideBottleneckResNet(depth=50, widen=2, in_channels=3, num_classes=1000, image_size=224)
    block = net.layer1[1]
    assert (block.conv1.in_channels, block.conv2.in_channels, block.conv3.out_channels) == (256, 128, 256)
    assert isinstance(net.pool1, nn.MaxPool2d)
