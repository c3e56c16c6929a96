"""The all-convolutional net: convolutions of stride 2 do what pools did, and nothing is dense.

Springenberg, Dosovitskiy, Brox, Riedmiller: "Striving for Simplicity: The All Convolutional Net", ICLR 2015 workshop, arXiv 1412.6806.
Here: the base models A, B and C of its table 1, each with the four ways to halve a map that section 3 compares (`reduction`): 3×3 max
pools (the base itself), stride 2 in the convolution before (Strided-CNN), a further convolution before the pool (ConvPool-CNN), and
that convolution with stride 2 in the pool's place (All-CNN). All-CNN-C has 1,369,738 parameters at 3 channels and 10 classes. And
`imagenet`, model B for larger images (the appendix's table 6): as All-CNN 9,372,840 parameters at 1000 classes by arithmetic.

As there, ReLU follows every convolution, the last one too, so that no logit is below zero. Dropout stands on the input and behind each
reduction; for ImageNet behind the last one alone.

Deviations:
- The paper tells no padding, only that the last maps have 6×6 pixels: at 32×32 that takes padding everywhere but in the last 3×3; at
  224×224 AlexNet's sizes (55, 27, 13, 6), where the reductions are not padded.
- It tells no starting weights: Glorot & Bengio 2010 (uniform), biases 0. (From He et al.'s larger ones, at the recipe's learning rate of
  0.05, the last ReLU was dead after 20 steps on CIFAR-10 and stayed so.)
- The average is taken over the whole last map, whatever its size, so other image sizes fit.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn

from cnntrain.units import Decay

# width and kernels of the convolutions before each reduction; the width of those after the last one
_STAGES: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "A": ((96, (5,)), (192, (5,))),
    "B": ((96, (5, 1)), (192, (5, 1))),
    "C": ((96, (3, 3)), (192, (3, 3))),
    "imagenet": ((96, (11, 1)), (256, (5, 1)), (384, (3, 1))),
}
_TOP = {"A": 192, "B": 192, "C": 192, "imagenet": 1024}


class AllCNN(nn.Module):
    """Stages of convolutions, three more on top, global average: (B, C, H, W) → (B, K)."""

    def __init__(
        self,
        *,
        base: Literal["A", "B", "C", "imagenet"] = "C",
        reduction: Literal["pool", "stride", "conv_pool", "conv"] = "conv",
        input_dropout: Decay = 0.2,
        dropout: Decay = 0.5,
        in_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.drop = nn.Dropout(input_dropout)
        self.features = nn.Sequential(*_features(base, reduction, in_channels, num_classes, dropout=dropout))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K), which are not below zero."""
        x = self.features(self.drop(x))  # (B, K, 6, 6) for 32×32, and for 224×224 with `imagenet`
        return self.flatten(self.avgpool(x))


def _features(base: str, reduction: str, in_channels: int, num_classes: int, *, dropout: float) -> Iterator[nn.Module]:
    """All convolutions with their ReLUs, pools and dropout, in order."""
    large = base == "imagenet"
    for number, (width, stage) in enumerate(_STAGES[base], start=1):
        kernels = [*stage, 3] if reduction in ("conv", "conv_pool") else [*stage]
        strides = [4 if kernel == 11 else 1 for kernel in kernels]
        if reduction in ("conv", "stride"):
            strides[-1] = 2
        for kernel, stride in zip(kernels, strides, strict=True):
            padding = {1: kernel // 2, 2: 0 if large else kernel // 2, 4: 2}[stride]
            yield nn.Conv2d(in_channels, width, kernel, stride, padding=padding)
            yield nn.ReLU(inplace=True)
            in_channels = width
        if reduction in ("pool", "conv_pool"):
            yield nn.MaxPool2d(3, 2, ceil_mode=True)
        if not large or number == len(_STAGES[base]):
            yield nn.Dropout(dropout)
    top = _TOP[base]
    for width, kernel, padding in ((top, 3, 1 if large else 0), (top, 1, 0), (num_classes, 1, 0)):
        yield nn.Conv2d(in_channels, width, kernel, padding=padding)
        yield nn.ReLU(inplace=True)
        in_channels = width
