"""Shortcuts, blocks, and what residual nets share."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.drop_path import DropPath
from cnntrain.layer.residual import BasicBlock, Bottleneck, PaddedShortcut, blocks_per_stage, drop_linearly, shortcut, stage


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_shortcut_a_takes_every_second_pixel_and_adds_zero_channels(memory_format):
    x = torch.randn(2, 3, 5, 6).contiguous(memory_format=memory_format)
    out = PaddedShortcut(4, stride=2)(x)
    assert out.shape == (2, 7, 3, 3)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2]) and not out[:, 3:].any()
    assert out.is_contiguous(memory_format=torch.channels_last), "odd sizes too"


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("A", False, nn.Identity),
        ("A", True, PaddedShortcut),
        ("B", False, nn.Identity),
        ("B", True, nn.Sequential),
        ("C", False, nn.Sequential),
        ("C", True, nn.Sequential),
    ],
)
def test_shortcut_kinds(kind, changes, expected):
    way = shortcut(kind, 4, 8 if changes else 4, stride=2 if changes else 1)
    assert type(way) is expected
    assert way(torch.randn(2, 4, 5, 5)).shape == ((2, 8, 3, 3) if changes else (2, 4, 5, 5))


def test_a_change_of_stride_alone_is_a_change():
    assert isinstance(shortcut("B", 4, 4, stride=2), nn.Sequential)
    assert shortcut("A", 4, 4, stride=2)(torch.randn(1, 4, 5, 5)).shape == (1, 4, 3, 3)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_a_block_adds_its_shortcut(block, kind):
    torch.manual_seed(0)
    net = block(4, 64, stride=2, kind=kind).eval()
    x = torch.randn(2, 4, 5, 5)
    kept = x.clone()
    nn.init.zeros_(net.last_norm.weight)  # F(x) = 0
    torch.testing.assert_close(net(x), net.downsample(x).relu())
    assert torch.equal(x, kept), "the block changed its input"


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_plain_block_adds_nothing(block):
    torch.manual_seed(0)
    net = block(64 * block.expansion, 64, stride=1, kind="none").eval()
    x = torch.randn(2, 64 * block.expansion, 5, 5)
    layers = [module for name, module in net.named_children() if name.startswith(("conv", "bn", "relu"))]
    assert net.downsample is None and torch.equal(net(x.clone()), nn.Sequential(*layers)(x))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_stage_changes_the_shape_once(block):
    row = stage(block, 4, 64, num_blocks=3, stride=2, kind="B")
    assert row(torch.randn(2, 4, 9, 9)).shape == (2, 64 * block.expansion, 5, 5)
    assert [isinstance(one.downsample, nn.Identity) for one in row] == [False, True, True]


def test_a_grouped_bottleneck_is_a_sum_of_narrow_paths():
    """ResNeXt's figure 3: form (a), a row of bottlenecks of their own, is form (c), one with a grouped convolution."""
    torch.manual_seed(0)
    paths, width = 3, 2
    net = Bottleneck(256, 64, stride=1, kind="B", groups=paths, group_width=width).double().eval()
    for norm in (net.bn1, net.bn2, net.bn3):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 256, 5, 5, dtype=torch.double)

    def normalise(x, norm, own):
        return F.batch_norm(x, norm.running_mean[own], norm.running_var[own], norm.weight[own], norm.bias[own], eps=norm.eps)

    total = 0.0
    for number in range(paths):
        own = slice(number * width, (number + 1) * width)
        path = normalise(F.conv2d(x, net.conv1.weight[own]), net.bn1, own).relu()
        path = normalise(F.conv2d(path, net.conv2.weight[own], padding=1), net.bn2, own).relu()
        total = total + F.conv2d(path, net.conv3.weight[:, own])
    torch.testing.assert_close(net(x), (net.bn3(total) + x).relu())


@pytest.mark.parametrize(("groups", "group_width", "inner"), [(1, 64, 128), (32, 4, 256), (32, 8, 512), (1, 128, 256), (2, 40, 160)])
def test_inner_width_of_the_second_stage(groups, group_width, inner):
    with torch.device("meta"):
        net = Bottleneck(256, 128, stride=2, kind="B", groups=groups, group_width=group_width)
    assert (net.conv2.in_channels, net.conv2.groups, net.conv3.out_channels) == (inner, groups, 512)


@pytest.mark.parametrize(("depth", "layers", "others", "expected"), [(20, 6, 2, 3), (1202, 6, 2, 200), (28, 6, 4, 4), (29, 9, 2, 3)])
def test_blocks_per_stage(depth, layers, others, expected):
    assert blocks_per_stage(depth, layers=layers, others=others) == expected


@pytest.mark.parametrize(
    ("depth", "layers", "others", "fix"), [(18, 6, 2, 20), (1, 6, 2, 8), (30, 6, 4, 28), (4, 6, 4, 10), (27, 9, 2, 29)]
)
def test_a_depth_that_cannot_be_is_told_with_the_nearest(depth, layers, others, fix):
    with pytest.raises(ConfigError, match=rf"{layers}n \+ {others} \({layers + others}, .*model\.depth={fix}$"):
        blocks_per_stage(depth, layers=layers, others=others)


def test_stochastic_depth_drops_the_branch_and_never_the_shortcut():
    torch.manual_seed(0)
    net = BasicBlock(4, 4, stride=1, kind="A").train()
    x = torch.randn(64, 4, 3, 3)
    branch = net.bn2(net.conv2(net.relu1(net.bn1(net.conv1(x)))))
    net.drop_path = DropPath(0.75)
    out = net(x.clone())
    dropped = [torch.equal(one, own.relu()) for one, own in zip(out, x, strict=True)]
    kept = [torch.allclose(one, (4 * part + own).relu(), atol=1e-5) for one, part, own in zip(out, branch, x, strict=True)]
    assert all(one != other for one, other in zip(dropped, kept, strict=True))
    assert 32 < sum(dropped) < 64  # 48 are expected; of 64 draws the deviation is 3.5


def test_the_rate_rises_linearly_to_the_last_block():
    blocks = [BasicBlock(4, 4, stride=1, kind="A") for _ in range(4)]
    drop_linearly(blocks, 0.0)
    assert all(isinstance(block.drop_path, nn.Identity) for block in blocks)
    drop_linearly(blocks, 0.5)
    assert [block.drop_path.rate for block in blocks] == [0.125, 0.25, 0.375, 0.5]
