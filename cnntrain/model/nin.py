"""Network in Network: each convolution is followed by two of 1×1, and the last maps' averages are the logits.

Lin, Chen, Yan: "Network In Network", ICLR 2014, arXiv 1312.4400. Here: its net for CIFAR-10, 966,986 parameters at 3 channels and 10
classes, with widths, dropout and starting weights of the authors' code (https://github.com/mavenlin/cuda-convnet, NIN/cifar-10_def);
and the net for ImageNet that the first author published with Caffe (https://gist.github.com/mavenlin/d802a5849de39225bcc6), 7,595,176
parameters at 1000 classes. Weights start as N(0, 0.05²), for ImageNet in part as N(0, 0.01²), biases at 0.

As there, ReLU follows every convolution, the last one too, so that no logit is below zero; and pools whose windows reach over the
right and lower edge are kept (32 → 16 → 8 pixels).

Deviations: the average is taken over the whole last map, whatever its size (8×8 there, 6×6 for ImageNet), so any image size fits.
(The pictures' whitening is not the net's business.)
"""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from cnntrain.units import Decay


class _Block(NamedTuple):
    """One mlpconv: its convolution, whose weights start with deviation `std`, the widths of all three, and whether dropout follows."""

    kernel: int
    stride: int
    padding: int
    std: float
    widths: tuple[int, int, int | None]  # None: as many as there are classes
    dropped: bool = False


_BLOCKS = {
    "cifar": (
        _Block(5, 1, 2, 0.05, (192, 160, 96), dropped=True),
        _Block(5, 1, 2, 0.05, (192, 192, 192), dropped=True),
        _Block(3, 1, 1, 0.05, (192, 192, None)),
    ),
    "imagenet": (
        _Block(11, 4, 0, 0.01, (96, 96, 96)),
        _Block(5, 1, 2, 0.05, (256, 256, 256)),
        _Block(3, 1, 1, 0.01, (384, 384, 384), dropped=True),
        _Block(3, 1, 1, 0.05, (1024, 1024, None)),
    ),
}
_LAST_STD = {"cifar": 0.05, "imagenet": 0.01}


class NetworkInNetwork(nn.Module):
    """Three or four mlpconv blocks with pools between them, global average: (B, C, H, W) → (B, K)."""

    def __init__(self, *, form: Literal["cifar", "imagenet"] = "cifar", dropout: Decay = 0.5, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for number, block in enumerate(_BLOCKS[form], start=1):
            widths = (*block.widths[:2], block.widths[2] or num_classes)
            self.features.add_module(
                f"mlpconv{number}", MlpConv(in_channels, widths, block.kernel, block.stride, block.padding, std=block.std)
            )
            if block is not _BLOCKS[form][-1]:
                self.features.add_module(f"pool{number}", nn.MaxPool2d(3, 2, ceil_mode=True))
            if block.dropped:
                self.features.add_module(f"drop{number}", nn.Dropout(dropout))
            in_channels = widths[-1]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        last = self.features[-1]
        assert isinstance(last, MlpConv)
        nn.init.normal_(last.cccp2.weight, std=_LAST_STD[form])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K), which are not below zero."""
        x = self.features(x)  # (B, K, 8, 8) for 32×32 | (B, K, 6, 6) for 224×224
        return self.flatten(self.avgpool(x))


class MlpConv(nn.Module):
    """A convolution and two of 1×1 ("cascaded cross-channel pooling"), each with ReLU: a small dense net slides over the map.

    (B, C, H, W) → (B, widths[2], H', W').
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int], kernel: int, stride: int, padding: int, *, std: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, widths[0], kernel, stride, padding=padding)
        self.relu1 = nn.ReLU(inplace=True)
        self.cccp1 = nn.Conv2d(widths[0], widths[1], 1)
        self.relu2 = nn.ReLU(inplace=True)
        self.cccp2 = nn.Conv2d(widths[1], widths[2], 1)
        self.relu3 = nn.ReLU(inplace=True)
        for layer, deviation in ((self.conv, std), (self.cccp1, 0.05), (self.cccp2, 0.05)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, widths[2], H', W')."""
        x = self.relu2(self.cccp1(self.relu1(self.conv(x))))
        return self.relu3(self.cccp2(x))
