"""VGG: deep nets of 3×3 convolutions, in the paper's six configurations, and their usual form for small images.

Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, arXiv 1409.1556, table 1.
Here: A, A-LRN, B, C (with 1×1 convolutions), D and E, with or without batch norm (Ioffe, Szegedy 2015, arXiv 1502.03167) before each
ReLU. Parameter names are torchvision's, which has A, B, D and E as vgg11, 13, 16 and 19: `load_state_dict` takes torchvision's
weights directly, and with `head: imagenet` the logits are the same.

Starting weights: Glorot & Bengio 2010 (uniform), biases 0: by which, the authors found after submission, all configurations can be
trained without first training A, whose layers began the deeper nets in their runs.

Deviations:
- `head: cifar` (and `auto` for images up to 64×64) is a global average and one dense layer in place of three dense layers over 7×7
  pixels: not of the paper, but what VGG on CIFAR-10 commonly is (https://github.com/kuangliu/pytorch-cifar, models/vgg.py; its "VGG-16"
  is D with batch norm, 14,728,266 parameters). Five pools have made a single pixel of 32×32 by then.
- `head: imagenet` has an adaptive pool to 7×7 before the dense layers, as in torchvision, which does nothing at 224×224; the paper turns
  the dense layers into convolutions to evaluate larger images.
- torchvision draws its convolutions after He et al. and its dense layers from N(0, 0.01²).
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.response_norm import response_norm
from cnntrain.units import Decay

_WIDTHS = (64, 128, 256, 512, 512)
# kernels of the convolutions in the five stages, each of which ends in a pool (table 1 of the paper, a column a row)
_KERNELS: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}


class VGG(nn.Module):
    """Five stages of convolutions, then one or three dense layers: (B, C, H, W) → (B, K); images of 32×32 or more."""

    def __init__(
        self,
        *,
        configuration: Literal["A", "A-LRN", "B", "C", "D", "E"],
        batch_norm: bool = False,
        head: Literal["auto", "cifar", "imagenet"] = "auto",
        dropout: Decay = 0.5,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small = head == "cifar" or (head == "auto" and image_size <= 64)
        self.choices: dict[str, str] = {}
        if head == "auto":
            self.choices["head"] = (
                f"global average, one dense layer (image {image_size} <= 64)" if small else f"three dense layers (image {image_size} > 64)"
            )
        self.features = nn.Sequential(*_features(configuration, in_channels, batch_norm=batch_norm))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1) if small else (7, 7))
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(512, num_classes) if small else _dense_layers(num_classes, dropout=dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes: cifar head at 32 | imagenet head at 224."""
        x = self.features(x)  # (B, 512, 1, 1) | (B, 512, 7, 7)
        return self.classifier(self.flatten(self.avgpool(x)))


def _features(configuration: str, in_channels: int, *, batch_norm: bool) -> Iterator[nn.Module]:
    """The convolutions with their norms, ReLUs and pools, in order."""
    first = True
    for width, kernels in zip(_WIDTHS, _KERNELS[configuration], strict=True):
        for kernel in kernels:
            yield nn.Conv2d(in_channels, width, kernel, padding=kernel // 2)
            if batch_norm:
                yield nn.BatchNorm2d(width)
            yield nn.ReLU(inplace=True)
            if first and configuration == "A-LRN":
                yield response_norm()
            in_channels, first = width, False
        yield nn.MaxPool2d(2, 2)


def _dense_layers(num_classes: int, *, dropout: float) -> nn.Sequential:
    """(B, 512·7·7) → (B, K)."""
    return nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes),
    )
