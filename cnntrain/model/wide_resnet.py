"""Wide residual nets: fewer layers of many more channels, WRN-depth-widening for CIFAR and WRN-50-2 for ImageNet.

Zagoruyko, Komodakis: "Wide Residual Networks", BMVC 2016, arXiv 1605.07146.
`WideResNet` (table 1): a 3×3 convolution to 16 channels, three stages of n pre-activated blocks (He et al. 2016, arXiv 1603.05027: norm and
relu before each convolution) with 16k, 32k, 64k channels on maps of 32, 16, 8 pixels, a last norm and relu: depth 6n + 4. Dropout, if any,
is between the two convolutions of a block. Where a block changes the number of channels, norm and relu come before the branching, and the
shortcut is a 1×1 convolution. Starting weights as in the authors' code: N(0, 2 / fan_out), the dense layer's bias zero.
The paper's errors on CIFAR-10 / CIFAR-100: 4.53 / 21.18 % for WRN-40-4, 4.00 / 19.25 % for WRN-28-10, 3.89 / 18.85 % with dropout 0.3.

`WideBottleneckResNet` (section 3): ResNet-50 for ImageNet with `widen` times the channels in the 3×3 convolutions; top-1 error 21.9 %.
Parameter names are torchvision's: `load_state_dict` takes torchvision's weights directly, and with `stem: imagenet` the
logits are the same.

Deviations: none in `WideResNet`; for `stem: cifar` of `WideBottleneckResNet` and its stride see `resnet.py`.
"""

from functools import partial
from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.four_stages import FourStages
from cnntrain.layer.residual import Bottleneck, blocks_per_stage, he_initialise
from cnntrain.layer.stem import Stem
from cnntrain.units import Count, Decay


class WideBlock(nn.Module):
    """Norm, relu, 3×3, norm, relu, dropout, 3×3, added to the input: (B, in, H, W) → (B, out, H / stride, W / stride), rounded up."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != out_channels
        self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + x, or, where the shape changes, F(x) + a projection of what the convolutions get."""
        active = self.relu1(self.bn1(x))
        out = self.relu2(self.bn2(self.conv1(active)))
        out = self.conv2(self.dropout(out))
        out += x if self.projection is None else self.projection(active)
        return out


class WideResNet(nn.Module):
    """Stem, three stages of pre-activated blocks, norm, global average, dense layer: (B, C, H, W) → (B, K), any image size.

    Raises:
        ConfigError: the depth is not 6n + 4.
    """

    def __init__(
        self,
        *,
        depth: Count,
        widen: Count,
        dropout: Decay = 0.0,
        in_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        num_blocks = blocks_per_stage(depth, layers=6, others=4)

        def stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
            first = WideBlock(in_channels, out_channels, stride=stride, dropout=dropout)
            return nn.Sequential(first, *(WideBlock(out_channels, out_channels, stride=1, dropout=dropout) for _ in range(num_blocks - 1)))

        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.layer1 = stage(16, 16 * widen, 1)
        self.layer2 = stage(16 * widen, 32 * widen, 2)
        self.layer3 = stage(32 * widen, 64 * widen, 2)
        self.bn = nn.BatchNorm2d(64 * widen)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64 * widen, num_classes)
        he_initialise(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 32×32, k is `widen`."""
        x = self.conv1(x)  # (B, 16, 32, 32)
        x = self.layer1(x)  # (B, 16k, 32, 32)
        x = self.layer2(x)  # (B, 32k, 16, 16)
        x = self.layer3(x)  # (B, 64k, 8, 8)
        return self.fc(self.flatten(self.avgpool(self.relu(self.bn(x)))))


class WideBottleneckResNet(FourStages):
    """ResNet's stem and four stages, with wide bottlenecks, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152],
        widen: Count = 2,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        block = partial(Bottleneck, group_width=64 * widen)
        super().__init__(block, depth, stem=stem, in_channels=in_channels, num_classes=num_classes, image_size=image_size)
