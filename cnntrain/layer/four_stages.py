"""The body that ResNet, ResNeXt and the wide ResNet-50 share: a stem, four stages of residual blocks, one dense layer.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, table 1. Names are torchvision's.
"""

from collections.abc import Callable

from torch import Tensor, nn

from cnntrain.layer.residual import BasicBlock, Bottleneck, Shortcut, he_initialise, stage
from cnntrain.layer.stem import Stem, choose_stem

# blocks in the four stages, by the net's depth (table 1 of the paper)
NUM_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class FourStages(nn.Module):
    """Stem, four stages of `block`, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        block: Callable[..., BasicBlock | Bottleneck],
        depth: int,
        *,
        shortcut: Shortcut = "B",
        stem: Stem = "auto",
        zero_init_residual: bool = False,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size)
        n1, n2, n3, n4 = NUM_BLOCKS[depth]
        self.conv1 = nn.Conv2d(in_channels, 64, 3 if small else 7, 1 if small else 2, padding=1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(block, 64, 64, num_blocks=n1, stride=1, kind=shortcut)
        expansion = self.layer1[0].expansion  # 1, or a bottleneck's 4
        self.layer2 = stage(block, 64 * expansion, 128, num_blocks=n2, stride=2, kind=shortcut)
        self.layer3 = stage(block, 128 * expansion, 256, num_blocks=n3, stride=2, kind=shortcut)
        self.layer4 = stage(block, 256 * expansion, 512, num_blocks=n4, stride=2, kind=shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512 * expansion, num_classes)
        he_initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: small stem at 32 | ImageNet's at 224; e = 1 (BasicBlock) or 4 (Bottleneck)."""
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))  # (B, 64, 32, 32) | (B, 64, 56, 56)
        x = self.layer1(x)  # (B, 64e, 32, 32) | (B, 64e, 56, 56)
        x = self.layer2(x)  # (B, 128e, 16, 16) | (B, 128e, 28, 28)
        x = self.layer3(x)  # (B, 256e, 8, 8) | (B, 256e, 14, 14)
        x = self.layer4(x)  # (B, 512e, 4, 4) | (B, 512e, 7, 7)
        return self.fc(self.flatten(self.avgpool(x)))
