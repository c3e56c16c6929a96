"""Inception v3: GoogLeNet's modules with their large kernels taken apart into small and one-dimensional ones.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, arXiv 1512.00567,
table 1 and figures 5 to 8, 10. Here: 7×7 as 1×7 and 7×1, 3×3 split into 1×3 and 3×1 side by side, reductions by convolutions of stride
2 beside a pool, and one auxiliary head with batch norm (the paper's "BN-auxiliary"; its loss counts 0.3, which is the objective's business;
it is gone in evaluation). Parameter names are torchvision's: `load_state_dict` takes torchvision's weights directly, and with
`stem: imagenet` all logits are the same.

The net is the one that the authors published (TensorFlow; torchvision has the same), whose differences from the paper's text are kept:
- the first modules still have a 5×5 convolution, which the paper's figure 5 has as two 3×3;
- convolutions of stride 2 and the stem's are unpadded ("valid"), so that 299 pixels become 35, 17 and 8.
Weights start as in the authors' code: N(0, 2 / fan_in) (there cut at two deviations), in the head N(0, 0.01²) for the 5×5 and N(0, 0.001²)
for the dense layer. (torchvision draws all others from N(0, 0.1²).)

Deviations:
- Average pools count the padding, as torchvision's; TensorFlow's do not.
- Batch norm has a scale, which the parameter counts include; TF-Slim's has none.
- The head's 5×5 average of stride 3 and 5×5 convolution need a map of 17×17, which is 299×299 pixels; on a smaller map the average is an
  adaptive one to 5×5, so that the head takes any image that the net takes.
- `stem: cifar` (and `auto` for images below 75×75, of which the other stem leaves nothing) has strides of 1 and padding in the stem, and no
  pools: not of the paper, but the form in which this net is used on CIFAR (32×32 pixels become 32, 15 and 7).
- torchvision's `transform_input` (it undoes one normalisation for another) is not here: whoever loads its trained weights normalises the
  data as they want it, to [-1, 1].
"""

from functools import partial

import torch
from torch import Tensor, nn

from cnntrain.layer.convolution import ConvNormReLU, initialise
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Decay

_LARGE_FORM = "3x3, stride 2, two pools, no padding"
_LARGEST_SMALL = 74  # 75 pixels become 7, 3 and 1


class InceptionA(nn.Module):
    """Figure 5: 1×1, 5×5, two 3×3, and a pool: (B, in, H, W) → (B, 224 + pool_channels, H, W)."""

    def __init__(self, in_channels: int, *, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 64)
        self.branch5x5_1 = ConvNormReLU(in_channels, 48)
        self.branch5x5_2 = ConvNormReLU(48, 64, 5)
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 64)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3)
        self.pool = nn.AvgPool2d(3, 1, padding=1)
        self.branch_pool = ConvNormReLU(in_channels, pool_channels)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(self.pool(x))], 1)


class InceptionB(nn.Module):
    """Figure 10, to half the size: 3×3, two 3×3, and a pool: (B, in, H, W) → (B, 480 + in, (H - 1) / 2, (W - 1) / 2), rounded down."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNormReLU(in_channels, 384, 3, stride=2, valid=True)
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 64)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, stride=2, valid=True)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.pool(x)], 1)


class InceptionC(nn.Module):
    """Figure 6, n = 7: 1×1, 7×7 taken apart, two such, and a pool: (B, in, H, W) → (B, 768, H, W); `width` channels on the way."""

    def __init__(self, in_channels: int, *, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 192)
        self.branch7x7_1 = ConvNormReLU(in_channels, width)
        self.branch7x7_2 = ConvNormReLU(width, width, (1, 7))
        self.branch7x7_3 = ConvNormReLU(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvNormReLU(in_channels, width)
        self.branch7x7dbl_2 = ConvNormReLU(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvNormReLU(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvNormReLU(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvNormReLU(width, 192, (1, 7))
        self.pool = nn.AvgPool2d(3, 1, padding=1)
        self.branch_pool = ConvNormReLU(in_channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], 1)


class InceptionD(nn.Module):
    """To half the size: 3×3, 7×7 taken apart and 3×3, and a pool: (B, in, H, W) → (B, 512 + in, (H - 1) / 2, (W - 1) / 2), rounded down."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNormReLU(in_channels, 192)
        self.branch3x3_2 = ConvNormReLU(192, 320, 3, stride=2, valid=True)
        self.branch7x7x3_1 = ConvNormReLU(in_channels, 192)
        self.branch7x7x3_2 = ConvNormReLU(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvNormReLU(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvNormReLU(192, 192, 3, stride=2, valid=True)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, self.pool(x)], 1)


class InceptionE(nn.Module):
    """Figure 7: 1×1, 3×3 split into 1×3 and 3×1, 3×3 and such a split, and a pool: (B, in, H, W) → (B, 2048, H, W)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 320)
        self.branch3x3_1 = ConvNormReLU(in_channels, 384)
        self.branch3x3_2a = ConvNormReLU(384, 384, (1, 3))
        self.branch3x3_2b = ConvNormReLU(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 448)
        self.branch3x3dbl_2 = ConvNormReLU(448, 384, 3)
        self.branch3x3dbl_3a = ConvNormReLU(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvNormReLU(384, 384, (3, 1))
        self.pool = nn.AvgPool2d(3, 1, padding=1)
        self.branch_pool = ConvNormReLU(in_channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' maps, one after another along the channels."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        split = [self.branch3x3_2a(three), self.branch3x3_2b(three), self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *split, self.branch_pool(self.pool(x))], 1)


class AuxiliaryHead(nn.Module):
    """Figure 8, with batch norm: average, 1×1 and 5×5 convolution, dense layer: (B, in, H, W) → (B, K)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, 3)
        self.small_pool = nn.AdaptiveAvgPool2d(5)
        self.conv0 = ConvNormReLU(in_channels, 128)
        self.conv1 = ConvNormReLU(128, 768, 5, valid=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map to logits. Shapes: 17×17, as of images of 299."""
        x = self.pool(x) if min(x.shape[2:]) >= 17 else self.small_pool(x)  # (B, in, 5, 5)
        x = self.conv1(self.conv0(x))  # (B, 768, 1, 1)
        return self.fc(self.flatten(self.avgpool(x)))


class InceptionV3(nn.Module):
    """Stem, eleven modules, global average, dense layer: (B, C, H, W) → (B, K); in training (logits, auxiliary logits)."""

    def __init__(
        self,
        *,
        auxiliary: bool = True,
        dropout: Decay = 0.5,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, large_form=_LARGE_FORM, largest_small=_LARGEST_SMALL)
        self.Conv2d_1a_3x3 = ConvNormReLU(in_channels, 32, 3, stride=1 if small else 2, valid=not small)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3, valid=not small)
        self.Conv2d_2b_3x3 = ConvNormReLU(32, 64, 3)
        self.maxpool1 = nn.Identity() if small else nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvNormReLU(64, 80)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3, valid=not small)
        self.maxpool2 = nn.Identity() if small else nn.MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(192, pool_channels=32)
        self.Mixed_5c = InceptionA(256, pool_channels=64)
        self.Mixed_5d = InceptionA(288, pool_channels=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, width=128)
        self.Mixed_6c = InceptionC(768, width=160)
        self.Mixed_6d = InceptionC(768, width=160)
        self.Mixed_6e = InceptionC(768, width=192)
        self.AuxLogits = AuxiliaryHead(768, num_classes) if auxiliary else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        initialise(self, partial(nn.init.kaiming_normal_, nonlinearity="relu"))
        if self.AuxLogits is not None:
            nn.init.normal_(self.AuxLogits.conv1.conv.weight, std=0.01)
            nn.init.normal_(self.AuxLogits.fc.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 299."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 32, 32) | (B, 64, 147, 147)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))  # (B, 192, 32, 32) | (B, 192, 71, 71)
        x = self.maxpool2(x)  # (B, 192, 32, 32) | (B, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 32, 32) | (B, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # (B, 768, 15, 15) | (B, 768, 17, 17)
        middle = self.Mixed_6e(self.Mixed_6d(x))  # (B, 768, 15, 15) | (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(middle)))  # (B, 2048, 7, 7) | (B, 2048, 8, 8)
        logits = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        if self.training and self.AuxLogits is not None:
            return logits, self.AuxLogits(middle)
        return logits
