"""Shortcuts and blocks."""

import pytest
import torch
from torch import nn

from cnntrain.layer.residual import BasicBlock, Bottleneck, PaddedShortcut, shortcut, stage


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
    net = block(4, 8, stride=2, kind=kind).eval()
    x = torch.randn(2, 4, 5, 5)
    kept = x.clone()
    nn.init.zeros_(net.last_norm.weight)  # F(x) = 0
    torch.testing.assert_close(net(x), net.downsample(x).relu())
    assert torch.equal(x, kept), "the block changed its input"


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_stage_changes_the_shape_once(block):
    row = stage(block, 4, 8, num_blocks=3, stride=2, kind="B")
    assert row(torch.randn(2, 4, 9, 9)).shape == (2, 8 * block.expansion, 5, 5)
    assert [isinstance(one.downsample, nn.Identity) for one in row] == [False, True, True]
