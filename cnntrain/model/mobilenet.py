"""MobileNet v1 and v2: nets of depthwise separable convolutions for small devices.

v1: Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam: "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, arXiv 1704.04861, table 1. 13 separable blocks, batch norm and ReLU after both convolutions of each.
v2: Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, arXiv 1801.04381, table 2.
17 blocks that widen (1×1), filter each channel (3×3), and narrow again without activation, with a shortcut between the narrow ends.
Here: the width multiplier of both; the resolution multiplier is the image size of the run. Papers: 70.6 and 72.0 % top-1 on ImageNet.

v2's parameter names and starting weights (N(0, 2 / fan_out)) are torchvision's: `load_state_dict` takes torchvision's weights directly,
and with `stem: imagenet` the logits are the same. v1 starts as in the authors' code (TensorFlow Slim): truncated normal of deviation 0.09.

Deviations:
- v1's last depthwise convolution has stride 1; table 1's "s2" does not fit the sizes beside it.
- v1 has ReLU, as in the paper; the authors' code ReLU6. Widths are rounded as in the authors' codes: v1 down, 8 at least; v2 to eighths.
- Batch norm's epsilon and momentum are torch's in both (v1 there: 0.001 and 0.0003).
- `stem: cifar` (and `auto` for images up to 64×64) is not of the papers: the first two strides of 2 are 1, as is usual on CIFAR-10, so that
  a 32×32 picture ends as 4×4 pixels.
"""

from torch import Tensor, nn

from cnntrain.layer.residual import he_initialise
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Decay, Positive

# output channels and stride of each separable block of v1
_BLOCKS_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
# v2, table 2: expansion t, output channels c, repetitions n, stride s of the first
_BLOCKS_V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class MobileNetV1(nn.Module):
    """A convolution, 13 separable blocks, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self, *, width: Positive = 1.0, dropout: Decay = 0.001, stem: Stem = "auto", in_channels: int, num_classes: int, image_size: int
    ) -> None:
        super().__init__()
        small, self.choices = _form(stem, image_size)
        channels = max(int(32 * width), 8)
        layers: list[nn.Module] = [_conv_norm(in_channels, channels, 3, 1 if small else 2, activation=nn.ReLU)]
        for number, (filters, stride) in enumerate(_BLOCKS_V1):
            out_channels = max(int(filters * width), 8)
            layers.append(_separable(channels, out_channels, 1 if small and number == 1 else stride))
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.09, a=-0.18, b=0.18)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 224, width 1."""
        x = self.features(x)  # (B, 1024, 4, 4) | (B, 1024, 7, 7)
        return self.classifier(self.flatten(self.avgpool(x)))


class MobileNetV2(nn.Module):
    """A convolution, 17 inverted residual blocks, a 1×1 convolution, global average, dense layer: (B, C, H, W) → (B, K), any image size."""

    def __init__(
        self, *, width: Positive = 1.0, dropout: Decay = 0.2, stem: Stem = "auto", in_channels: int, num_classes: int, image_size: int
    ) -> None:
        super().__init__()
        small, self.choices = _form(stem, image_size)
        channels = _to_eighths(32 * width)
        layers: list[nn.Module] = [_conv_norm(in_channels, channels, 3, 1 if small else 2, activation=nn.ReLU6)]
        for number, (expansion, filters, repetitions, first_stride) in enumerate(_BLOCKS_V2):
            out_channels = _to_eighths(filters * width)
            for repetition in range(repetitions):
                stride = 1 if repetition or (small and number == 1) else first_stride
                layers.append(InvertedResidual(channels, out_channels, stride=stride, expansion=expansion))
                channels = out_channels
        last = _to_eighths(1280 * max(1.0, width))
        self.features = nn.Sequential(*layers, _conv_norm(channels, last, 1, activation=nn.ReLU6))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        he_initialise(self)
        nn.init.normal_(self.classifier[1].weight, std=0.01)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 224, width 1."""
        x = self.features(x)  # (B, 1280, 4, 4) | (B, 1280, 7, 7)
        return self.classifier(self.flatten(self.avgpool(x)))


class InvertedResidual(nn.Module):
    """1×1 up to `expansion`·in, depthwise 3×3, 1×1 down: (B, in, H, W) → (B, out, H / stride, W / stride), rounded up.

    The input is added where the shape stays. Without expansion there is no first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        widen = [_conv_norm(in_channels, hidden, 1, activation=nn.ReLU6)] if expansion > 1 else []
        depthwise = _conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6)
        narrow = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.conv = nn.Sequential(*widen, depthwise, narrow, nn.BatchNorm2d(out_channels))
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """The narrow ends are linear: no activation after the sum."""
        return x + self.conv(x) if self.adds else self.conv(x)


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, groups: int = 1, activation: type[nn.ReLU] | type[nn.ReLU6]
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), activation(inplace=True))


def _separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """v1's block: depthwise 3×3, pointwise 1×1, norm and activation after each."""
    depthwise = _conv_norm(in_channels, in_channels, 3, stride, groups=in_channels, activation=nn.ReLU)
    return nn.Sequential(depthwise, _conv_norm(in_channels, out_channels, 1, activation=nn.ReLU))


def _form(stem: Stem, image_size: int) -> tuple[bool, dict[str, str]]:
    """Whether it is the form for small pictures, and the words for that if `auto` chose."""
    return choose_stem(stem, image_size, small_form="the first two strides of 2 are 1", large_form="the paper's strides")


def _to_eighths(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never less than nine tenths of `channels`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
