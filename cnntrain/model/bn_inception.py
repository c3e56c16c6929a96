"""BN-Inception (Inception v2): GoogLeNet's successor, for which batch norm was invented.

Ioffe, Szegedy: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML 2015,
arXiv 1502.03167, appendix, figure 5. What is new beside the norm: the 5×5 convolution is two 3×3 in a row, average pools in most modules,
a third module at 28×28, and modules of stride 2 that pass the pooled map through, in place of pools between the modules.
No auxiliary heads: the figure has none.

Deviations:
- The figure's numbers do not agree with each other in 4c and 4d: their filters add up to 608 channels, its "output size" is 576. Here the
  pool projections are 96, not 128, so that the sizes hold, as in Google's TF-Slim.
- The first convolution is a plain one; the paper's is separable with depth multiplier 8.
- Pools and convolutions of stride 2 are padded alike, by one pixel a side, so that any image size fits; at 224×224 all sizes are the
  paper's. Average pools do not count the padding, as in TensorFlow.
- Weights start from N(0, 2 / fan_in), as in TF-Slim (there cut at two deviations, and N(0, 0.09²) for the 1×1 reductions, N(0, 0.1²) for
  the pool projections and the second layer's 1×1).
- Batch norm has a scale, as the paper's, which the parameter counts include; TF-Slim's has none.
- `stem: cifar` (and `auto` for images up to 64×64) has a 3×3 convolution of stride 1 in place of the 7×7 of stride 2, and no pools: not of
  the paper, but the form in which such nets are used on CIFAR.
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from cnntrain.layer.convolution import ConvNormReLU, initialise
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Decay

# 1×1, 3×3 reduce, 3×3, double 3×3 reduce, double 3×3, pool and its projection (figure 5); no 1×1: a module of stride 2
_WIDTHS = {
    "3a": (64, 64, 64, 64, 96, "average", 32),
    "3b": (64, 64, 96, 64, 96, "average", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "average", 128),
    "4b": (192, 96, 128, 96, 128, "average", 128),
    "4c": (160, 128, 160, 128, 160, "average", 96),
    "4d": (96, 128, 192, 160, 192, "average", 96),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "average", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}


class Inception(nn.Module):
    """1×1, 3×3, two 3×3 in a row, and a pool side by side: (B, in, H, W) → (B, out_channels, H, W).

    3c and 4e have no 1×1 branch, stride 2 in the others, and a pooled map that passes through as it is.
    """

    def __init__(self, in_channels: int, name: str) -> None:
        super().__init__()
        one, reduce3, three, reduce33, double, pool, projection = _WIDTHS[name]
        stride = 1 if one else 2
        branches: list[nn.Module] = [ConvNormReLU(in_channels, one)] if one else []
        branches.append(nn.Sequential(ConvNormReLU(in_channels, reduce3), ConvNormReLU(reduce3, three, 3, stride=stride)))
        branches.append(
            nn.Sequential(
                ConvNormReLU(in_channels, reduce33), ConvNormReLU(reduce33, double, 3), ConvNormReLU(double, double, 3, stride=stride)
            )
        )
        average = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
        pooling = average if pool == "average" else nn.MaxPool2d(3, stride, padding=1)
        branches.append(nn.Sequential(pooling, ConvNormReLU(in_channels, projection)) if projection else pooling)
        self.branches = nn.ModuleList(branches)
        self.out_channels = one + three + double + (projection or in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class BNInception(nn.Module):
    """Stem, ten Inception modules, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        *,
        dropout: Decay = 0.0,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, large_form="7x7, stride 2, two pools")
        self.conv1 = ConvNormReLU(in_channels, 64, 3 if small else 7, stride=1 if small else 2)
        self.maxpool1 = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.conv2 = ConvNormReLU(64, 64)
        self.conv3 = ConvNormReLU(64, 192, 3)
        self.maxpool2 = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 192
        for name in _WIDTHS:
            modules[name] = module = Inception(channels, name)
            channels = module.out_channels
        self.inception = nn.Sequential(modules)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, partial(nn.init.kaiming_normal_, nonlinearity="relu"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 224."""
        x = self.maxpool1(self.conv1(x))  # (B, 64, 32, 32) | (B, 64, 56, 56)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (B, 192, 32, 32) | (B, 192, 28, 28)
        x = self.inception(x)  # (B, 1024, 8, 8) | (B, 1024, 7, 7)
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))
