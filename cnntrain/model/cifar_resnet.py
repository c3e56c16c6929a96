"""ResNet-20/32/44/56/110/1202 for CIFAR-10, much thinner than the nets for ImageNet, and the same without shortcuts.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, section 4.2: depth 6n + 2, three stages
of n basic blocks with 16, 32, 64 channels on maps of 32, 16, 8 pixels, shortcut A ("identity shortcuts in all cases").
The paper's errors on CIFAR-10: 8.75 / 7.51 / 7.17 / 6.97 / 6.43 / 7.93 % for 20 / 32 / 44 / 56 / 110 / 1202 layers.
`shortcut: none` makes the paper's plain nets, whose training error rises with depth.

`stochastic_depth`: Huang, Sun, Liu, Sedra, Weinberger: "Deep Networks with Stochastic Depth", ECCV 2016, arXiv 1603.09382: in training a
block is skipped with a probability that rises linearly from the first block to this one's, the last (0.5 there); for what differs see
`layer/drop_path.py`. Their ResNet-110 has an error of 5.23 %, and 6.41 % without.

Deviations: none in the net but where shortcut A's zeros go (`layer/residual.py`), which the paper leaves open; shortcuts B and C are
offered too. (The paper warms ResNet-110 up at a learning rate of 0.01: that is the schedule's business.)
"""

from torch import Tensor, nn

from cnntrain.layer.residual import BasicBlock, Shortcut, blocks_per_stage, drop_linearly, he_initialise, stage
from cnntrain.units import Count, Decay


class CifarResNet(nn.Module):
    """Stem, three stages of basic blocks, global average, dense layer: (B, C, H, W) → (B, K), any image size.

    Raises:
        ConfigError: the depth is not 6n + 2; `zero_init_residual` or `stochastic_depth` without shortcuts.
    """

    def __init__(
        self,
        *,
        depth: Count,
        shortcut: Shortcut = "A",
        zero_init_residual: bool = False,
        stochastic_depth: Decay = 0.0,
        in_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        num_blocks = blocks_per_stage(depth, layers=6, others=2)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU(inplace=True)
        self.layer1 = stage(BasicBlock, 16, 16, num_blocks=num_blocks, stride=1, kind=shortcut)
        self.layer2 = stage(BasicBlock, 16, 32, num_blocks=num_blocks, stride=2, kind=shortcut)
        self.layer3 = stage(BasicBlock, 32, 64, num_blocks=num_blocks, stride=2, kind=shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)
        drop_linearly([*self.layer1, *self.layer2, *self.layer3], stochastic_depth)
        he_initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 32×32."""
        x = self.relu1(self.bn1(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.layer1(x)  # (B, 16, 32, 32)
        x = self.layer2(x)  # (B, 32, 16, 16)
        x = self.layer3(x)  # (B, 64, 8, 8)
        return self.fc(self.flatten(self.avgpool(x)))
