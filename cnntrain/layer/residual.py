"""Residual blocks and their shortcuts.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, figure 5 and section 4.1.
The input of a block is added to what its convolutions make of it: y = relu(F(x) + shortcut(x)).

Names of parameters are torchvision's (`conv1`, `bn1`, `downsample.0`, …), so that its weight files load directly.

Deviations:
- The bottleneck's stride is on its 3×3 convolution (the "v1.5" of fb.resnet.torch and torchvision), not on the first 1×1 as in the
  paper: same parameters, about 0.5 points better on ImageNet by NVIDIA's account, and what all published weight files have.
- Shortcut A appends its zero channels at the end; the paper does not say where they go.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


class PaddedShortcut(nn.Module):
    """Shortcut A: every `stride`-th pixel, and zeros for the channels that are new; no parameters.

    (B, C, H, W) → (B, C + new_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, new_channels: int, *, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Copy every stride-th pixel once, into the padded map."""
        # with the channels last in shape too: torch then pads along the row, and gives channels_last for odd sizes as well
        pixels = x.permute(0, 2, 3, 1)[:, :: self.stride, :: self.stride]
        return F.pad(pixels, (0, self.new_channels)).permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"new_channels={self.new_channels}, stride={self.stride}"


def shortcut(kind: Literal["A", "B", "C"], in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """The way around a block, by the paper's options.

    A: identity, with zero padding where the shape changes. B: identity, with a 1×1 projection where it changes. C: always a projection.
    """
    changes = stride != 1 or in_channels != out_channels
    if kind != "C" and not changes:
        return nn.Identity()
    if kind == "A":
        return PaddedShortcut(out_channels - in_channels, stride=stride)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions: (B, in, H, W) → (B, width, H / stride, W / stride), rounded up."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, *, stride: int, kind: Literal["A", "B", "C"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(kind, in_channels, width, stride=stride)
        self.relu2 = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation right before the addition."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x))."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu2(out)


class Bottleneck(nn.Module):
    """1×1 down to `width`, 3×3, 1×1 up to 4·width: (B, in, H, W) → (B, 4·width, H / stride, W / stride), rounded up."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, kind: Literal["A", "B", "C"]) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(kind, in_channels, out_channels, stride=stride)
        self.relu3 = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation right before the addition."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x))."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(x)
        return self.relu3(out)


def stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, *, num_blocks: int, stride: int, kind: Literal["A", "B", "C"]
) -> nn.Sequential:
    """`num_blocks` blocks of one width; the first has the stride and the change of channels."""
    out_channels = width * block.expansion
    first = block(in_channels, width, stride=stride, kind=kind)
    return nn.Sequential(first, *(block(out_channels, width, stride=1, kind=kind) for _ in range(num_blocks - 1)))


def he_initialise(net: nn.Module, *, zero_init_residual: bool) -> None:
    """Draw the convolutions of a residual net from N(0, 2 / fan_out), set norms to 1 and 0; the dense layer stays as torch makes it.

    He, Zhang, Ren, Sun: "Delving Deep into Rectifiers", ICCV 2015, arXiv 1502.01852, in the backward form (fan_out), as in fb.resnet.torch.
    `zero_init_residual`: the last norm of each block starts at 0, so that a block starts as its shortcut (Goyal et al. 2017,
    arXiv 1706.02677, section 5.1).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_init_residual:
        for module in net.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)
