"""Inception (small): a net for CIFAR-10 made of the simplest Inception modules.

Zhang, Bengio, Hardt, Recht, Vinyals: "Understanding deep learning requires rethinking generalization", ICLR 2017, arXiv 1611.03530,
figure 3 and table 1: the net with which the paper shows that random labels can be learned. 1,649,402 parameters at 3 channels and 10
classes. As there, batch norm shifts but does not scale (TF-Slim's default: before a ReLU, the next layer can scale): the scale is held at
1, which is how the paper's count comes about.
Weights start uniform after Glorot, the default of TF-Slim: the paper gives no starting values.

With `join` other than `concatenation` the branches of a module have all of its channels each, and are summed, averaged, or compete element
by element (`maximum`). That kernel sizes should compete is from Liao, Carneiro: "Competitive Multi-scale Convolution", 2015, arXiv
1511.05635, who compare it with concatenation; their nets and norms are others. What follows such a module is the same either way.

Deviations:
- The paper cuts the middle 28×28 out of CIFAR's pictures, which become maps of 28, 14 and 7; here any size goes, and CIFAR's 32 pixels
  become 32, 16 and 8. The mean is taken over the whole last map, whatever its size.
"""

import torch
from torch import Tensor, nn

from cnntrain.layer.convolution import ConvNormReLU, initialise
from cnntrain.layer.join import Join, Joined

# channels of the 1×1 and the 3×3 of each module; one number is the 3×3 of a downsampling module (figure 3)
_MODULES: tuple[tuple[int, ...], ...] = (
    *((32, 32), (32, 48), (80,)),
    *((112, 48), (96, 64), (80, 80), (48, 96), (96,)),
    *((176, 160), (176, 160)),
)


class Inception(nn.Module):
    """1×1 and 3×3 side by side: (B, in, H, W) → (B, one + three, H, W)."""

    def __init__(self, in_channels: int, one: int, three: int, *, join: Joined = "concatenation") -> None:
        super().__init__()
        self.out_channels = one + three
        widths = (one, three) if join == "concatenation" else (self.out_channels, self.out_channels)
        self.branch1 = ConvNormReLU(in_channels, widths[0])
        self.branch2 = ConvNormReLU(in_channels, widths[1], 3)
        self.join = Join(join)

    def forward(self, x: Tensor) -> Tensor:
        """Both branches' maps, joined."""
        return self.join([self.branch1(x), self.branch2(x)])


class Downsample(nn.Module):
    """3×3 of stride 2 beside a pool: (B, in, H, W) → (B, three + in, H / 2, W / 2), rounded up."""

    def __init__(self, in_channels: int, three: int) -> None:
        super().__init__()
        self.branch1 = ConvNormReLU(in_channels, three, 3, stride=2)
        self.branch2 = nn.MaxPool2d(3, 2, padding=1)
        self.out_channels = three + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Both branches' maps, one after the other along the channels."""
        return torch.cat([self.branch1(x), self.branch2(x)], 1)


class InceptionSmall(nn.Module):
    """A convolution, ten modules, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(self, *, join: Joined = "concatenation", in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(in_channels, 96, 3)
        self.inception = nn.Sequential()
        channels = 96
        for widths in _MODULES:
            module = Inception(channels, *widths, join=join) if len(widths) == 2 else Downsample(channels, *widths)
            self.inception.append(module)
            channels = module.out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, nn.init.xavier_uniform_)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 32×32."""
        x = self.inception(self.conv1(x))  # (B, 336, 8, 8)
        return self.fc(self.flatten(self.avgpool(x)))
