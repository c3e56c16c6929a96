"""GoogLeNet (Inception v1): modules that look at a map with several kernels at once, and two auxiliary heads that help to train it.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: "Going Deeper with Convolutions", CVPR 2015,
arXiv 1409.4842, table 1 and figures 2 and 3. Here: the 22-layer net, its naive module for comparison, its heads (their loss counts 0.3,
which is the objective's business; they are gone in evaluation). Parameter names are torchvision's.

- `norm: local_response` is the paper's: convolutions with biases, local response norm in the stem (figure 3). The paper gives no constants
  of that norm, here AlexNet's, and no starting weights, here those of Caffe's "BVLC GoogLeNet": uniform with variance 1 / fan_in, biases
  0.2, in the last layers 0.
- `norm: batch` is what is meant by GoogLeNet since 2015: batch norm in place of all biases and local norms; weights start from
  N(0, 0.01²), as in torchvision (Google's TF-Slim cuts it at two deviations).
- `form: torchvision` has a 3×3 kernel in the place of the module's 5×5, and a 2×2 pool before 5a, both from TF-Slim (pytorch/vision
  issue 906): `load_state_dict` takes torchvision's weights directly, and with `norm: batch`, `stem: imagenet` all logits are the same.

Deviations:
- The heads' average is an adaptive one of 4×4 (torchvision's), so that they take any image; at 224×224 its windows are 4×4 pixels
  where the paper's are 5×5 with stride 3.
- `stem: cifar` (and `auto` for images up to 64×64) has a 3×3 convolution of stride 1 in place of the 7×7 of stride 2, and neither of the
  stem's pools: not of the paper, but the common form for CIFAR, whose 32×32 pixels the first modules then see in full.
- torchvision's `transform_input` (it undoes one normalisation for another) is not here: whoever loads its trained weights normalises
  the data as they want it, to [-1, 1].
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from cnntrain.layer.convolution import ConvNormReLU, initialise
from cnntrain.layer.response_norm import response_norm
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Decay

# 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection (table 1 of the paper)
_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Figure 2b: 1×1, 3×3, 5×5 (`large`) and a pool side by side, behind 1×1 convolutions that save work.

    (B, in, H, W) → (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, name: str, *, large: int = 5, norm: bool = True) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = _WIDTHS[name]
        brick = partial(ConvNormReLU, norm=norm)
        self.branch1 = brick(in_channels, one)
        self.branch2 = nn.Sequential(brick(in_channels, reduce3), brick(reduce3, three, 3))
        self.branch3 = nn.Sequential(brick(in_channels, reduce5), brick(reduce5, five, large))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), brick(in_channels, pool))
        self.out_channels = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        """The four branches' maps, one after another along the channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class NaiveInception(nn.Module):
    """Figure 2a: the same kernels on the whole map, and the pooled map itself. (B, in, H, W) → (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, name: str, *, large: int = 5, norm: bool = True) -> None:
        super().__init__()
        one, _, three, _, five, _ = _WIDTHS[name]
        self.branch1 = ConvNormReLU(in_channels, one, norm=norm)
        self.branch2 = ConvNormReLU(in_channels, three, 3, norm=norm)
        self.branch3 = ConvNormReLU(in_channels, five, large, norm=norm)
        self.branch4 = nn.MaxPool2d(3, 1, padding=1)
        self.out_channels = one + three + five + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """The four branches' maps, one after another along the channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """A classifier on a map half-way: 4×4 average, 1×1 convolution, two dense layers: (B, in, H, W) → (B, K)."""

    def __init__(self, in_channels: int, num_classes: int, *, norm: bool) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvNormReLU(in_channels, 128, norm=norm)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map to logits."""
        x = self.flatten(self.conv(self.avgpool(x)))  # (B, 2048)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(nn.Module):
    """Stem, nine Inception modules, global average, dense layer: (B, C, H, W) → (B, K); in training (logits, logits of 4a, of 4d)."""

    def __init__(
        self,
        *,
        form: Literal["paper", "torchvision"] = "paper",
        norm: Literal["batch", "local_response"] = "batch",
        reduce: bool = True,
        auxiliary: bool = True,
        dropout: Decay = 0.4,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size, large_form="7x7, stride 2, two pools")
        batch = norm == "batch"
        paper = form == "paper"
        self.conv1 = ConvNormReLU(in_channels, 64, 3 if small else 7, stride=1 if small else 2, norm=batch)
        self.maxpool1 = nn.Identity() if small else nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = nn.Identity() if batch else response_norm()
        self.conv2 = ConvNormReLU(64, 64, norm=batch)
        self.conv3 = ConvNormReLU(64, 192, 3, norm=batch)
        self.norm2 = nn.Identity() if batch else response_norm()
        self.maxpool2 = nn.Identity() if small else nn.MaxPool2d(3, 2, ceil_mode=True)
        kind = Inception if reduce else NaiveInception
        channels, after = 192, {}  # now, and after each module
        for name in _WIDTHS:
            module = kind(channels, name, large=5 if paper else 3, norm=batch)
            self.add_module(f"inception{name}", module)
            channels = after[name] = module.out_channels
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(3 if paper else 2, 2, ceil_mode=True)
        self.auxiliary = auxiliary
        if auxiliary:
            self.aux1 = AuxiliaryHead(after["4a"], num_classes, norm=batch)
            self.aux2 = AuxiliaryHead(after["4d"], num_classes, norm=batch)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        if batch:
            initialise(self, partial(nn.init.normal_, std=0.01))
        else:
            self._initialise_as_caffe()

    def _initialise_as_caffe(self) -> None:
        initialise(self, partial(nn.init.kaiming_uniform_, nonlinearity="linear"))  # variance 1 / fan_in
        last = [self.fc, self.aux1.fc2, self.aux2.fc2] if self.auxiliary else [self.fc]
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module not in last:
                nn.init.constant_(module.bias, 0.2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) → logits (B, K). Shapes: cifar stem at 32 | imagenet stem at 224."""
        x = self.norm1(self.maxpool1(self.conv1(x)))  # (B, 64, 32, 32) | (B, 64, 56, 56)
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))  # (B, 192, 32, 32) | (B, 192, 28, 28)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))  # (B, 480, 16, 16) | (B, 480, 14, 14)
        map_4a = self.inception4a(x)  # (B, 512, 16, 16) | (B, 512, 14, 14)
        map_4d = self.inception4d(self.inception4c(self.inception4b(map_4a)))  # (B, 528, 16, 16) | (B, 528, 14, 14)
        x = self.maxpool4(self.inception4e(map_4d))  # (B, 832, 8, 8) | (B, 832, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (B, 1024, 8, 8) | (B, 1024, 7, 7)
        logits = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        if self.training and self.auxiliary:
            return logits, self.aux1(map_4a), self.aux2(map_4d)
        return logits
