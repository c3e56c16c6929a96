"""ResNet-18/34/50/101/152, the residual networks for ImageNet, and their common form for small images.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, table 1.
Here: the five depths, the shortcuts A, B and C of section 4.1. Parameter names are torchvision's: its weight files load directly, and
with `stem: imagenet`, `shortcut: B` the logits are the same.

Deviations:
- `stem: cifar` (and `auto` for images up to 64×64) has a 3×3 convolution of stride 1 and no pooling in place of the 7×7 of stride 2
  and the 3×3 pool: not of the paper, but what everybody means by "ResNet-18 on CIFAR-10"; a 32×32 picture would otherwise reach the
  last stage as a single pixel. (The paper's own nets for CIFAR are in `cifar_resnet.py`.)
- The bottleneck's stride is on its 3×3 convolution, and shortcut A's zeros come last: see `layer/residual.py`.
"""

from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.residual import BasicBlock, Bottleneck, he_initialise, stage

# blocks in the four stages, by depth (table 1 of the paper)
_STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        *,
        depth: Literal[18, 34, 50, 101, 152],
        shortcut: Literal["A", "B", "C"] = "B",
        stem: Literal["auto", "cifar", "imagenet"] = "auto",
        zero_init_residual: bool = False,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small = stem == "cifar" or (stem == "auto" and image_size <= 64)
        self.choices: dict[str, str] = {}
        if stem == "auto":
            self.choices["stem"] = (
                f"3x3, stride 1, no pooling (image {image_size} <= 64)" if small else f"7x7, stride 2, 3x3 pool (image {image_size} > 64)"
            )
        block, (n1, n2, n3, n4) = _STAGES[depth]
        self.conv1 = nn.Conv2d(in_channels, 64, 3 if small else 7, 1 if small else 2, padding=1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(block, 64, 64, num_blocks=n1, stride=1, kind=shortcut)
        self.layer2 = stage(block, 64 * block.expansion, 128, num_blocks=n2, stride=2, kind=shortcut)
        self.layer3 = stage(block, 128 * block.expansion, 256, num_blocks=n3, stride=2, kind=shortcut)
        self.layer4 = stage(block, 256 * block.expansion, 512, num_blocks=n4, stride=2, kind=shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        he_initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 224; e = 1 (18, 34) or 4."""
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))  # (B, 64, 32, 32) | (B, 64, 56, 56)
        x = self.layer1(x)  # (B, 64e, 32, 32) | (B, 64e, 56, 56)
        x = self.layer2(x)  # (B, 128e, 16, 16) | (B, 128e, 28, 28)
        x = self.layer3(x)  # (B, 256e, 8, 8) | (B, 256e, 14, 14)
        x = self.layer4(x)  # (B, 512e, 4, 4) | (B, 512e, 7, 7)
        return self.fc(self.flatten(self.avgpool(x)))
