"""ResNet-20/32/44/56/110/…: the residual networks for CIFAR-10, much thinner than those for ImageNet.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, section 4.2: depth 6n + 2, three stages
of n basic blocks with 16, 32, 64 channels on maps of 32, 16, 8 pixels, shortcut A ("identity shortcuts in all cases").
The paper's errors on CIFAR-10: 8.75 / 7.51 / 7.17 / 6.97 / 6.43 % for 20 / 32 / 44 / 56 / 110 layers.

Deviations: none in the net but where shortcut A's zeros go (`layer/residual.py`), which the paper leaves open; shortcuts B and C are
offered too. (The paper warms ResNet-110 up at a learning rate of 0.01: that is the schedule's business.)
"""

from typing import Literal

from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.residual import BasicBlock, he_initialise, stage
from cnntrain.units import Count


class CifarResNet(nn.Module):
    """Stem, three stages of basic blocks, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self,
        *,
        depth: Count,
        shortcut: Literal["A", "B", "C"] = "A",
        zero_init_residual: bool = False,
        in_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        num_blocks, rest = divmod(depth - 2, 6)
        if rest or num_blocks < 1:
            nearest = 6 * max(1, round((depth - 2) / 6)) + 2
            raise ConfigError(f"depth {depth} is not 6n + 2 (8, 14, 20, …)", where="model.depth", fix=f"model.depth={nearest}")
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU(inplace=True)
        self.layer1 = stage(BasicBlock, 16, 16, num_blocks=num_blocks, stride=1, kind=shortcut)
        self.layer2 = stage(BasicBlock, 16, 32, num_blocks=num_blocks, stride=2, kind=shortcut)
        self.layer3 = stage(BasicBlock, 32, 64, num_blocks=num_blocks, stride=2, kind=shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)
        he_initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 32×32."""
        x = self.relu1(self.bn1(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.layer1(x)  # (B, 16, 32, 32)
        x = self.layer2(x)  # (B, 32, 16, 16)
        x = self.layer3(x)  # (B, 64, 8, 8)
        return self.fc(self.flatten(self.avgpool(x)))
