"""Residual blocks and their shortcuts.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, figure 5 and section 4.1.
The input of a block is added to what its convolutions make of it: y = relu(F(x) + shortcut(x)). Without a shortcut, y = relu(F(x)), it is
a piece of the paper's plain nets.

Names of parameters are torchvision's (`conv1`, `bn1`, `downsample.0`, …), so that its weights load directly (by load_state_dict).

Deviations:
- The bottleneck's stride is on its 3×3 convolution (the "v1.5" of fb.resnet.torch and torchvision), not on the first 1×1 as in the
  paper: same parameters, about 0.5 points better on ImageNet by NVIDIA's account, and what all published weight files have.
- Shortcut A appends its zero channels at the end; the paper does not say where they go.
"""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.drop_path import DropPath, linear_rates
from cnntrain.units import Decay

Shortcut = Literal["A", "B", "C", "none"]


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


def shortcut(kind: Shortcut, in_channels: int, out_channels: int, *, stride: int) -> nn.Module | None:
    """The way around a block, by the paper's options.

    A: identity, with zero padding where the shape changes. B: identity, with a 1×1 projection where it changes. C: always a projection.
    none: no such way, as in a plain net.
    """
    if kind == "none":
        return None
    changes = stride != 1 or in_channels != out_channels
    if kind != "C" and not changes:
        return nn.Identity()
    if kind == "A":
        return PaddedShortcut(out_channels - in_channels, stride=stride)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions: (B, in, H, W) → (B, width, H / stride, W / stride), rounded up."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, *, stride: int, kind: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop_path: nn.Module = nn.Identity()  # see `drop_linearly`
        self.downsample = shortcut(kind, in_channels, width, stride=stride)
        self.relu2 = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation right before the addition."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x)), or relu(F(x))."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.drop_path(self.bn2(self.conv2(out)))
        if self.downsample is not None:
            out += self.downsample(x)
        return self.relu2(out)


class Bottleneck(nn.Module):
    """1×1 down to the inner width, 3×3, 1×1 up to 4·width: (B, in, H, W) → (B, 4·width, H / stride, W / stride), rounded up.

    The inner width is `width`; with other `groups` of the 3×3 convolution (ResNeXt) or another `group_width` (ResNeXt, wide ResNets),
    `groups` times that many channels where `width` is 64, and in proportion elsewhere.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, kind: Shortcut, groups: int = 1, group_width: int = 64) -> None:
        super().__init__()
        inner, out_channels = width * group_width // 64 * groups, width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(kind, in_channels, out_channels, stride=stride)
        self.relu3 = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation right before the addition."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x)), or relu(F(x))."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            out += self.downsample(x)
        return self.relu3(out)


def stage(
    block: Callable[..., BasicBlock | Bottleneck], in_channels: int, width: int, *, num_blocks: int, stride: int, kind: Shortcut
) -> nn.Sequential:
    """`num_blocks` blocks of one width; the first has the stride and the change of channels."""
    first = block(in_channels, width, stride=stride, kind=kind)
    out_channels = width * first.expansion
    return nn.Sequential(first, *(block(out_channels, width, stride=1, kind=kind) for _ in range(num_blocks - 1)))


def blocks_per_stage(depth: int, *, layers: int, others: int) -> int:
    """The n of a net for CIFAR of `depth` = layers·n + others: three stages of n blocks, and `others` layers outside the stages.

    Raises:
        ConfigError: there is no such n of 1 or more.
    """
    num_blocks, rest = divmod(depth - others, layers)
    if rest or num_blocks < 1:
        depths = ", ".join(str(layers * n + others) for n in (1, 2, 3))
        nearest = layers * max(1, round((depth - others) / layers)) + others
        raise ConfigError(f"depth {depth} is not {layers}n + {others} ({depths}, …)", where="model.depth", fix=f"model.depth={nearest}")
    return num_blocks


def drop_linearly(blocks: list[BasicBlock], last: Decay) -> None:
    """Stochastic depth: block l of L drops its branch, in training, with a probability of l/L times the last one's (`layer/drop_path.py`).

    Raises:
        ConfigError: the blocks have no shortcuts, and a dropped branch would leave nothing.
    """
    if last and any(block.downsample is None for block in blocks):
        raise ConfigError("stochastic depth needs shortcuts", where="model.stochastic_depth", fix="model.stochastic_depth=0.0")
    if last:
        for block, rate in zip(blocks, linear_rates(last, num_blocks=len(blocks)), strict=True):
            block.drop_path = DropPath(rate)


def he_initialise(net: nn.Module, *, zero_init_residual: bool = False) -> None:
    """Draw the convolutions of a residual net from N(0, 2 / fan_out), set norms to 1 and 0; the dense layer stays as torch makes it.

    He, Zhang, Ren, Sun: "Delving Deep into Rectifiers", ICCV 2015, arXiv 1502.01852, in the backward form (fan_out), as in fb.resnet.torch;
    fan_out counts the output channels of all groups, as there.
    `zero_init_residual`: the last norm of each block starts at 0, so that a block starts as its shortcut (Goyal et al. 2017,
    arXiv 1706.02677, section 5.1).

    Raises:
        ConfigError: `zero_init_residual` of blocks without shortcuts, which would start as zero and stay it.
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
                if module.downsample is None:
                    fix = "model.zero_init_residual=false"
                    raise ConfigError("a net without shortcuts cannot start as its shortcuts", where="model.zero_init_residual", fix=fix)
                nn.init.zeros_(module.last_norm.weight)
