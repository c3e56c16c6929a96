"""SpeedrunNet: the small network of the CIFAR-10 speed runs.

Page 2018, "How to train your ResNet" (https://myrtle.ai/learn/how-to-train-your-resnet/): a narrow net with max pools, a frozen whitening
layer, and logits that are scaled down. tysam-code 2023, hlb-CIFAR10 (https://github.com/tysam-code/hlb-CIFAR10): three groups of two
convolutions, GELU, a 2×2 whitening layer with filters of either sign. Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
arXiv 2404.00498, section 3: a bias on the whitening layer, identity initialisation, and airbench94 and airbench96, whose widths the YAMLs
of those names have (airbench96 is given a third convolution a group, and a residual connection around the last two).
1,971,640 parameters as airbench94 at 3 channels and 10 classes, of which 288 are the whitening filters; 9,915,704 as airbench96.

The whitening layer is an ordinary trained convolution until `weights=whitened` sets and freezes its filters.

Deviations:
- The last max pool takes the whole map, whatever its size (the papers': 3×3, which is the whole map of a 32×32 picture).
- Batch norm's epsilon is torch's 1e-5, the papers' 1e-12: a channel without variance stays quiet.
- Everything has the run's precision (the papers': float16, batch norm in float32), and the whitening bias is trained to the end (there
  for 3 epochs).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from cnntrain.layer.whitening import Whitening
from cnntrain.layer.window import Window, final_map_size
from cnntrain.units import Count, Fraction, Positive

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class SpeedrunNet(nn.Module):
    """Whitening layer, three groups of convolutions, global max pool, dense layer: (B, C, H, W) → (B, K); images of 9×9 or more."""

    def __init__(
        self,
        *,
        widths: tuple[Count, Count, Count] = (64, 256, 256),
        convs: Literal[2, 3] = 2,
        residual: bool = False,
        activation: Literal["gelu", "relu"] = "gelu",
        head_scale: Positive = 1 / 9,
        norm_momentum: Fraction = 0.4,
        norm_scale: bool = False,
        identity_init: bool = True,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        final_map_size(image_size, _windows, net="SpeedrunNet")
        self.head_scale = head_scale
        self.whiten = Whitening(in_channels)
        self.act = _ACTIVATIONS[activation]()
        self.group1, self.group2, self.group3 = (
            Group(
                inputs,
                outputs,
                convs=convs,
                residual=residual,
                activation=_ACTIVATIONS[activation],
                norm_momentum=norm_momentum,
                norm_scale=norm_scale,
            )
            for inputs, outputs in zip((self.whiten.out_channels, *widths[:2]), widths, strict=True)
        )
        self.pool = GlobalMaxPool()
        self.head = nn.Linear(widths[2], num_classes, bias=False)
        if identity_init:
            for module in self.modules():
                if isinstance(module, nn.Conv2d) and not isinstance(module, Whitening):
                    pass_through(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are airbench94's at 32×32."""
        x = self.act(self.whiten(x))  # (B, 24, 31, 31)
        x = self.group1(x)  # (B, 64, 15, 15)
        x = self.group2(x)  # (B, 256, 7, 7)
        x = self.group3(x)  # (B, 256, 3, 3)
        return self.head(self.pool(x)) * self.head_scale


class Group(nn.Module):
    """conv - 2×2 max pool - norm - activation, then conv - norm - activation once or twice: (B, C, H, W) → (B, C', H / 2, W / 2).

    `residual` adds what the first activation gave to the last norm's output, before its activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        convs: int,
        residual: bool,
        activation: type[nn.Module],
        norm_momentum: float,
        norm_scale: bool,
    ) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norm_scale else BiasNorm
        self.residual = residual
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = norm(out_channels, momentum=norm_momentum)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = norm(out_channels, momentum=norm_momentum)
        self.act2 = activation()
        self.third = convs == 3
        if self.third:
            self.conv3 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
            self.norm3 = norm(out_channels, momentum=norm_momentum)
            self.act3 = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H / 2, W / 2), rounded down."""
        first = self.act1(self.norm1(self.pool(self.conv1(x))))
        out, act = self.norm2(self.conv2(first)), self.act2
        if self.third:
            out, act = self.norm3(self.conv3(act(out))), self.act3
        return act(out + first if self.residual else out)


class BiasNorm(nn.BatchNorm2d):
    """Batch norm with a trained bias and no trained scale, which is 1."""

    def __init__(self, channels: int, *, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        del self.weight
        # A buffer, for the kernels of an accelerator that take both or neither; not saved, since it is known.
        self.register_buffer("weight", torch.ones(channels), persistent=False)


class GlobalMaxPool(nn.Module):
    """(B, C, H, W) → (B, C): each map's largest value."""

    def forward(self, x: Tensor) -> Tensor:
        """Over the whole map, of any size; equal largest values share the gradient."""
        return x.amax((2, 3))


@torch.no_grad()
def pass_through(conv: nn.Conv2d) -> None:
    """Let the first filters pass the channel of their own number through; the others keep their random start (Jordan 2024, section 3.3)."""
    inputs = conv.in_channels
    nn.init.dirac_(conv.weight[:inputs])


def _windows(image_size: int) -> list[Window]:
    groups = [[Window(f"group{n}.conv1", 3, padding=1), Window(f"group{n}.pool", 2, 2)] for n in (1, 2, 3)]
    return [Window("whiten", 2), *(window for group in groups for window in group)]
