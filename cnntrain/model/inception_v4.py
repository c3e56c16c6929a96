"""Inception-v4, and Inception-ResNet v1 and v2, whose modules are added to their input instead of taking its place.

Szegedy, Ioffe, Vanhoucke, Alemi: "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017,
arXiv 1602.07261. Here: all three nets, each module a table below that reads as its figure; a box marked V in the paper is unpadded
("valid"), as are all of stride 2. Residual modules end in a 1×1 convolution with a bias and without norm or activation; what it gives is
scaled down before it is added, which keeps wide modules from dying (section 3.3: factors between 0.1 and 0.3).
None has an auxiliary head: the figures have none (the authors' code offers one).

Inception-v4 and Inception-ResNet-v1 are the paper's figures (3 to 9; 10 to 14), v1 with its five C modules. Inception-ResNet-v2 is
the net that the authors published (TF-Slim), which all ports and weight files have: the paper's figures 15 to 19 do not fit each other
(B modules of 1154 channels on a map of 1152, C modules of 2048 on one of 2144). It has the stem of Inception-v3 and one module more of that
kind, 10, 20 and 10 residual modules in place of 5, 10 and 5, the last one neither scaled nor activated, and a 1×1 convolution at the end.

Starting weights as in TF-Slim: v4 N(0, 2 / fan_in) (there cut at two deviations), the residual nets uniform after Glorot.

Deviations:
- The factors are those of the authors' code, 0.17, 0.1 and 0.2 for A, B and C; the paper gives the range alone.
- Average pools do not count the padding, as in TensorFlow.
- Batch norm has a scale, which the parameter counts include; TF-Slim's has none.
- `stem: cifar` (and `auto` for images below 75×75, of which the other stem leaves nothing) has strides of 1 and padding everywhere in the
  stem, its pools too: not of the paper, but a form in which such nets are used on CIFAR (32×32 pixels become 32, 15 and 7).
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from cnntrain.layer.convolution import ConvNormReLU, initialise
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Decay

_SMALL_FORM, _LARGE_FORM = "all strides 1, padded", "three reductions, no padding"
_LARGEST_SMALL = 74  # 75 pixels become 7, 3 and 1


class Conv(NamedTuple):
    """A convolution's box in a figure; `valid` is its mark V, which stride 2 always has."""

    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    valid: bool = False


AVERAGE, MAX = "average", "max"  # 3×3 of stride 1, padded; 3×3 of stride 2 V
# A chain is a list of boxes, one after another; a fork is a tuple of chains side by side, and may itself stand in a chain.


class Fork(nn.Module):
    """Chains of layers side by side on one map, joined along the channels: (B, in, H, W) → (B, out_channels, H', W')."""

    def __init__(self, in_channels: int, *chains: list, small: bool = False) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Chain(in_channels, chain, small=small) for chain in chains)
        self.out_channels = sum(branch.out_channels for branch in self.branches)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Chain(nn.Sequential):
    """The layers of a list of boxes: (B, in, H, W) → (B, out_channels, H', W'); `small`: padded and with strides of 1 throughout."""

    def __init__(self, in_channels: int, boxes: Sequence, *, small: bool = False) -> None:
        super().__init__()
        self.out_channels = in_channels
        for box in boxes:
            if box == AVERAGE:
                self.append(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False))
            elif box == MAX:
                self.append(nn.MaxPool2d(3, 1, padding=1) if small else nn.MaxPool2d(3, 2))
            elif isinstance(box, Conv):
                valid = (box.valid or box.stride == 2) and not small
                self.append(ConvNormReLU(self.out_channels, box.channels, box.kernel, stride=1 if small else box.stride, valid=valid))
                self.out_channels = box.channels
            else:
                fork = Fork(self.out_channels, *box, small=small)
                self.append(fork)
                self.out_channels = fork.out_channels


class Residual(nn.Module):
    """relu(x + scale · linear(fork(x))), the last one of a net without the ReLU: (B, C, H, W) → the same."""

    def __init__(self, channels: int, *chains: list, scale: float, activated: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.fork = Fork(channels, *chains)
        self.linear = nn.Conv2d(self.fork.out_channels, channels, 1)
        self.relu = nn.ReLU(inplace=True) if activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add what the module makes of its input to the input."""
        return self.relu(torch.add(x, self.linear(self.fork(x)), alpha=self.scale))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"scale={self.scale}"


# Inception-v4
_HEAD = [Conv(32, 3, 2), Conv(32, 3, valid=True), Conv(64, 3)]  # of all stems
_STEM = [  # figure 3: → 384 channels
    *_HEAD,
    ([MAX], [Conv(96, 3, 2)]),
    ([Conv(64), Conv(96, 3, valid=True)], [Conv(64), Conv(64, (7, 1)), Conv(64, (1, 7)), Conv(96, 3, valid=True)]),
    ([Conv(192, 3, 2)], [MAX]),
]
_A = ([AVERAGE, Conv(96)], [Conv(96)], [Conv(64), Conv(96, 3)], [Conv(64), Conv(96, 3), Conv(96, 3)])  # figure 4
_REDUCTION_A = ([MAX], [Conv(384, 3, 2)], [Conv(192), Conv(224, 3), Conv(256, 3, 2)])  # figure 7, table 1: → 1024
_B = (  # figure 5
    [AVERAGE, Conv(128)],
    [Conv(384)],
    [Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))],
    [Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))],
)
_REDUCTION_B = (  # figure 8: → 1536
    [MAX],
    [Conv(192), Conv(192, 3, 2)],
    [Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2)],
)
_SPLIT = ([Conv(256, (1, 3))], [Conv(256, (3, 1))])
_C = (  # figure 6
    [AVERAGE, Conv(256)],
    [Conv(256)],
    [Conv(384), _SPLIT],
    [Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), _SPLIT],
)


class InceptionV4(nn.Module):
    """Stem, 4 A, 7 B and 3 C modules with reductions between, global average, dense layer: (B, C, H, W) → (B, K)."""

    def __init__(self, *, dropout: Decay = 0.2, stem: Stem = "auto", in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, small_form=_SMALL_FORM, large_form=_LARGE_FORM, largest_small=_LARGEST_SMALL)
        self.stem = Chain(in_channels, _STEM, small=small)
        self.a = nn.Sequential(*(Fork(384, *_A) for _ in range(4)))
        self.reduction_a = Fork(384, *_REDUCTION_A)
        self.b = nn.Sequential(*(Fork(1024, *_B) for _ in range(7)))
        self.reduction_b = Fork(1024, *_REDUCTION_B)
        self.c = nn.Sequential(*(Fork(1536, *_C) for _ in range(3)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1536, num_classes)
        initialise(self, partial(nn.init.kaiming_normal_, nonlinearity="relu"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 299."""
        x = self.a(self.stem(x))  # (B, 384, 32, 32) | (B, 384, 35, 35)
        x = self.b(self.reduction_a(x))  # (B, 1024, 15, 15) | (B, 1024, 17, 17)
        x = self.c(self.reduction_b(x))  # (B, 1536, 7, 7) | (B, 1536, 8, 8)
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))


class _Version(NamedTuple):
    """An Inception-ResNet: chains and numbers of its modules; of a plain `last` C module; channels of a convolution at the end."""

    stem: list
    a: tuple
    reduction_a: tuple
    b: tuple
    reduction_b: tuple
    c: tuple
    blocks: tuple[int, int, int]
    plain_last: bool
    final: int | None


_VERSIONS = {
    1: _Version(
        stem=[*_HEAD, MAX, Conv(80), Conv(192, 3, valid=True), Conv(256, 3, 2)],  # figure 14
        a=([Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(32, 3), Conv(32, 3)]),  # figure 10
        reduction_a=([MAX], [Conv(384, 3, 2)], [Conv(192), Conv(192, 3), Conv(256, 3, 2)]),  # figure 7, table 1: → 896
        b=([Conv(128)], [Conv(128), Conv(128, (1, 7)), Conv(128, (7, 1))]),  # figure 11
        reduction_b=(  # figure 12: → 1792
            [MAX],
            [Conv(256), Conv(384, 3, 2)],
            [Conv(256), Conv(256, 3, 2)],
            [Conv(256), Conv(256, 3), Conv(256, 3, 2)],
        ),
        c=([Conv(192)], [Conv(192), Conv(192, (1, 3)), Conv(192, (3, 1))]),  # figure 13
        blocks=(5, 10, 5),
        plain_last=False,
        final=None,
    ),
    2: _Version(
        stem=[
            *[*_HEAD, MAX, Conv(80), Conv(192, 3, valid=True), MAX],
            ([Conv(96)], [Conv(48), Conv(64, 5)], [Conv(64), Conv(96, 3), Conv(96, 3)], [AVERAGE, Conv(64)]),
        ],
        a=([Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(48, 3), Conv(64, 3)]),  # figure 16, on 320 channels
        reduction_a=([MAX], [Conv(384, 3, 2)], [Conv(256), Conv(256, 3), Conv(384, 3, 2)]),  # figure 7, table 1: → 1088
        b=([Conv(192)], [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]),  # figure 17
        reduction_b=(  # figure 18: → 2080
            [MAX],
            [Conv(256), Conv(384, 3, 2)],
            [Conv(256), Conv(288, 3, 2)],
            [Conv(256), Conv(288, 3), Conv(320, 3, 2)],
        ),
        c=([Conv(192)], [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))]),  # figure 19
        blocks=(10, 20, 10),
        plain_last=True,
        final=1536,
    ),
}


class InceptionResNet(nn.Module):
    """Stem, residual A, B and C modules with reductions between, global average, dense layer: (B, C, H, W) → (B, K)."""

    def __init__(
        self,
        *,
        version: Literal[1, 2],
        scales: tuple[Decay, Decay, Decay] = (0.17, 0.1, 0.2),
        dropout: Decay = 0.2,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, small_form=_SMALL_FORM, large_form=_LARGE_FORM, largest_small=_LARGEST_SMALL)
        net = _VERSIONS[version]
        num_a, num_b, num_c = net.blocks
        scale_a, scale_b, scale_c = scales
        self.stem = Chain(in_channels, net.stem, small=small)
        channels = self.stem.out_channels
        self.a = nn.Sequential(*(Residual(channels, *net.a, scale=scale_a) for _ in range(num_a)))
        self.reduction_a = Fork(channels, *net.reduction_a)
        channels = self.reduction_a.out_channels
        self.b = nn.Sequential(*(Residual(channels, *net.b, scale=scale_b) for _ in range(num_b)))
        self.reduction_b = Fork(channels, *net.reduction_b)
        channels = self.reduction_b.out_channels
        self.c = nn.Sequential(*(Residual(channels, *net.c, scale=scale_c) for _ in range(num_c - net.plain_last)))
        if net.plain_last:
            self.c.append(Residual(channels, *net.c, scale=1.0, activated=False))
        self.final = ConvNormReLU(channels, net.final) if net.final else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(net.final or channels, num_classes)
        initialise(self, nn.init.xavier_uniform_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: version 1 at 299 | version 2 at 299; the cifar stem at 32 gives maps of 32, 15, 7."""
        x = self.a(self.stem(x))  # (B, 256, 35, 35) | (B, 320, 35, 35)
        x = self.b(self.reduction_a(x))  # (B, 896, 17, 17) | (B, 1088, 17, 17)
        x = self.c(self.reduction_b(x))  # (B, 1792, 8, 8) | (B, 2080, 8, 8)
        x = self.final(x)  # (B, 1792, 8, 8) | (B, 1536, 8, 8)
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))
