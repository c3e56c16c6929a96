"""Xception: an Inception net whose modules are depthwise separable convolutions with shortcuts.

Chollet: "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv 1610.02357, figure 5 and section 4.2.
Here: its 36 convolutional layers in 14 modules (entry flow, middle flow of eight, exit flow), batch norm after every convolution, no
activation between depthwise and pointwise (section 4.7), dropout of 0.5 before the classifier. Starting weights (Glorot uniform) and
batch norm's epsilon (0.001) as in the author's code (keras.applications). Paper: 79.0 % top-1 on ImageNet, one crop of 299×299.

Deviations:
- The pools pad one pixel on each side; the author's code pads even maps on the right and below only. The sizes are the same.
- Batch norm's statistics move by torch's 0.1 a step, there by 0.01, which suits runs of a million steps.
- The fully connected layers before the classifier, which the paper tries on JFT (optional in figure 5), are left out.
- `stem: cifar` (and `auto` for images up to 64×64) is not of the paper: the first two convolutions have stride 1 and padding, so that
  a 32×32 picture reaches the middle flow with 4×4 pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from cnntrain.layer.separable import DepthwiseSeparable
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Count, Decay


class Xception(nn.Module):
    """Stem, entry, middle and exit flow, global average, dense layer: (B, C, H, W) → (B, K).

    The ImageNet stem needs images of 7×7 (a smaller one is found by the run's dry pass), the other takes any.
    """

    def __init__(
        self,
        *,
        middle_blocks: Count = 8,
        dropout: Decay = 0.5,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, small_form="3x3, stride 1, padded", large_form="3x3, stride 2")
        self.conv1 = nn.Conv2d(in_channels, 32, 3, 1 if small else 2, padding=int(small), bias=False)
        self.bn1 = _norm(32)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=int(small), bias=False)
        self.bn2 = _norm(64)
        self.relu2 = nn.ReLU(inplace=True)
        self.entry = nn.Sequential(
            XceptionModule([64, 128, 128], first_relu=False), XceptionModule([128, 256, 256]), XceptionModule([256, 728, 728])
        )
        self.middle = nn.Sequential(*(XceptionModule([728, 728, 728, 728], shrink=False) for _ in range(middle_blocks)))
        self.exit = XceptionModule([728, 728, 1024])
        self.conv3 = DepthwiseSeparable(1024, 1536, 3)
        self.bn3 = _norm(1536)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv4 = DepthwiseSeparable(1536, 2048, 3)
        self.bn4 = _norm(2048)
        self.relu4 = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 299."""
        x = self.relu1(self.bn1(self.conv1(x)))  # (B, 32, 32, 32) | (B, 32, 149, 149)
        x = self.relu2(self.bn2(self.conv2(x)))  # (B, 64, 32, 32) | (B, 64, 147, 147)
        x = self.entry(x)  # (B, 728, 4, 4) | (B, 728, 19, 19)
        x = self.exit(self.middle(x))  # (B, 1024, 2, 2) | (B, 1024, 10, 10)
        x = self.relu3(self.bn3(self.conv3(x)))  # (B, 1536, 2, 2) | (B, 1536, 10, 10)
        x = self.relu4(self.bn4(self.conv4(x)))  # (B, 2048, 2, 2) | (B, 2048, 10, 10)
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))


class XceptionModule(nn.Module):
    """ReLU, separable convolution, norm for each step of `widths`; added to the input, or to its projection.

    (B, widths[0], H, W) → (B, widths[-1], H, W); with `shrink`, a pool of stride 2 comes last and the shortcut is a 1×1 convolution of
    stride 2: half the size, rounded up.
    """

    def __init__(self, widths: Sequence[int], *, shrink: bool = True, first_relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            if place or first_relu:
                layers.append(nn.ReLU(inplace=place > 0))  # the first one's input is the shortcut's, too
            layers += [DepthwiseSeparable(before, after, 3), _norm(after)]
        self.shortcut: nn.Module = nn.Identity()
        if shrink:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
            self.shortcut = nn.Sequential(nn.Conv2d(widths[0], widths[-1], 1, 2, bias=False), _norm(widths[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Both branches' sum."""
        out = self.layers(x)
        out += self.shortcut(x)
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001)
