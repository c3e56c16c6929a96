"""ResNeXt: residual nets whose bottlenecks are many narrow ones side by side, for ImageNet and for CIFAR.

Xie, Girshick, Dollár, Tu, He: "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017, arXiv 1611.05431, table 1 and
section 5.3. `cardinality` many paths of `group_width` channels each (32×4d: 32 of 4) are one grouped convolution, form (c) of figure 3.
`ResNeXt` has the names of torchvision's parameters: `load_state_dict` takes torchvision's weights directly, and with `stem: imagenet` the
logits are the same.
Starting weights: N(0, 2 / fan_out), as in the authors' code.

`CifarResNeXt` (section 5.3): a 3×3 convolution to 64 channels, three stages of n blocks with 256, 512, 1024 channels on maps of 32, 16, 8
pixels: depth 9n + 2. The paper's errors on CIFAR-10 / CIFAR-100: 3.65 / 17.77 % for ResNeXt-29 8×64d, 3.58 / 17.31 % for 16×64d.

Deviations:
- `stem: cifar` of `ResNeXt` is not of the paper; see `resnet.py`.
- The blocks of `CifarResNeXt` are those of the authors' published code (norm after convolution), which by its notes do better on CIFAR than
  the pre-activated ones that the paper's numbers are from; the number of parameters is the one that the paper gives (34.4 million).
- The dense layer starts as torch makes it; theirs with a bias of zero.
"""

from functools import partial
from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.four_stages import FourStages
from cnntrain.layer.residual import Bottleneck, blocks_per_stage, he_initialise, stage
from cnntrain.layer.stem import Stem
from cnntrain.units import Count


class ResNeXt(FourStages):
    """ResNet's stem and four stages, with grouped bottlenecks, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152],
        cardinality: Count = 32,
        group_width: Count = 4,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        block = partial(Bottleneck, groups=cardinality, group_width=group_width)
        super().__init__(block, depth, stem=stem, in_channels=in_channels, num_classes=num_classes, image_size=image_size)


class CifarResNeXt(nn.Module):
    """Stem, three stages of grouped bottlenecks, global average, dense layer: (B, C, H, W) → (B, K), any image size.

    Raises:
        ConfigError: the depth is not 9n + 2.
    """

    def __init__(
        self,
        *,
        depth: Count,
        cardinality: Count = 8,
        group_width: Count = 64,
        in_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        num_blocks = blocks_per_stage(depth, layers=9, others=2)
        block = partial(Bottleneck, groups=cardinality, group_width=group_width)
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu1 = nn.ReLU(inplace=True)
        self.layer1 = stage(block, 64, 64, num_blocks=num_blocks, stride=1, kind="B")
        self.layer2 = stage(block, 256, 128, num_blocks=num_blocks, stride=2, kind="B")
        self.layer3 = stage(block, 512, 256, num_blocks=num_blocks, stride=2, kind="B")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(1024, num_classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 32×32."""
        x = self.relu1(self.bn1(self.conv1(x)))  # (B, 64, 32, 32)
        x = self.layer1(x)  # (B, 256, 32, 32)
        x = self.layer2(x)  # (B, 512, 16, 16)
        x = self.layer3(x)  # (B, 1024, 8, 8)
        return self.fc(self.flatten(self.avgpool(x)))
