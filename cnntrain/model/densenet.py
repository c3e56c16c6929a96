"""DenseNet-121/161/169/201 for ImageNet, and DenseNet-BC for CIFAR: each layer reads the maps of all layers before it.

Huang, Liu, van der Maaten, Weinberger: "Densely Connected Convolutional Networks", CVPR 2017, arXiv 1608.06993, table 1 and section 3.
Here: the BC nets. B: a layer is norm, relu, 1×1 to 4k channels, norm, relu, 3×3 to k (the growth rate). C: the transitions between blocks
(norm, relu, 1×1, 2×2 average) halve the channels, too. The stem has 2k channels.
The paper's errors of DenseNet-BC (100 layers, k = 12): 4.51 % on CIFAR-10, 22.27 % on CIFAR-100, with flips and shifts.

`memory_efficient`: Pleiss, Chen, Huang, Li, van der Maaten, Weinberger: "Memory-Efficient Implementation of DenseNets", 2017,
arXiv 1707.06990: the concatenated and normalised maps, whose memory grows with the square of a block's layers, are made anew in the
backward pass. Results and running statistics stay the same. Under `machine.compile`, which takes no such second pass, it does nothing.

Parameter names are torchvision's: its state dict loads directly (published files have older names, norm.1 for norm1), and with
`stem: imagenet` and a dropout of 0 the logits are the same.
Starting weights as in the authors' code: N(0, 2 / fan_out), the classifier's bias zero. (torchvision takes fan_in.)

Deviations:
- `stem: cifar` (and `auto` for images up to 64×64) of the ImageNet nets is not of the paper; for nets of three blocks it is the paper's.
- The nets without bottleneck and compression are left out: the paper has them for comparison.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cnntrain.layer.residual import he_initialise
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Count, Decay


class DenseLayer(nn.Module):
    """What a layer makes of all maps before it: a list of (B, C_i, H, W) → `growth_rate` new ones (B, k, H, W)."""

    def __init__(self, in_channels: int, growth_rate: int, *, dropout: float, memory_efficient: bool) -> None:
        super().__init__()
        self.memory_efficient = memory_efficient
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
        self.dropout1 = nn.Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(4 * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.dropout2 = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Concatenate, bottleneck, convolve."""
        # torch.compile takes no context_fn but those of its own selective checkpointing
        if self.memory_efficient and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            out = checkpoint(self._bottleneck, *maps, use_reentrant=False, preserve_rng_state=False, context_fn=self._once)
        else:
            out = self._bottleneck(*maps)  # (B, 4k, H, W)
        return self.dropout2(self.conv2(self.relu2(self.norm2(self.dropout1(out)))))

    def _bottleneck(self, *maps: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(torch.cat(maps, 1))))

    def _once(self) -> tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]:
        """The contexts of the two passes: the statistics of a batch count once."""
        return contextlib.nullcontext(), _with_copied_statistics(self.norm1)


@contextlib.contextmanager
def _with_copied_statistics(norm: nn.BatchNorm2d) -> Iterator[None]:
    """The norm updates copies of its running statistics, which are forgotten."""
    kept = dict(norm.named_buffers())
    for name, value in kept.items():
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(norm, name, value)


class DenseBlock(nn.ModuleDict):
    """`num_layers` layers, and all that there is in the end: (B, C, H, W) → (B, C + num_layers·k, H, W)."""

    def __init__(self, in_channels: int, growth_rate: int, num_layers: int, *, dropout: float, memory_efficient: bool) -> None:
        super().__init__()
        for i in range(num_layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, dropout=dropout, memory_efficient=memory_efficient)
            self[f"denselayer{i + 1}"] = layer

    def forward(self, x: Tensor) -> Tensor:
        """Each layer reads the input and what the layers before it made."""
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, 1)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between them, global average, dense layer: (B, C, H, W) → (B, K).

    The image must have 2 pixels a side at each transition; a smaller one is found by the run's dry pass.
    """

    def __init__(
        self,
        *,
        growth_rate: Count,
        block_layers: list[Count],
        dropout: Decay = 0.0,
        memory_efficient: bool = False,
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        small, self.choices = choose_stem(stem, image_size)
        channels = 2 * growth_rate
        self.features = _small_stem(in_channels, channels) if small else _imagenet_stem(in_channels, channels)
        for number, num_layers in enumerate(block_layers, 1):
            block = DenseBlock(channels, growth_rate, num_layers, dropout=dropout, memory_efficient=memory_efficient)
            self.features.add_module(f"denseblock{number}", block)
            channels += num_layers * growth_rate
            if number < len(block_layers):
                self.features.add_module(f"transition{number}", _transition(channels, channels // 2, dropout=dropout))
                channels //= 2
        self.features.add_module(f"norm{len(block_layers) + 1}", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        he_initialise(self)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K)."""
        x = self.features(x)  # of 32×32: (B, 342, 8, 8) for L = 100, k = 12; of 224×224: (B, 1024, 7, 7) for DenseNet-121
        return self.classifier(self.flatten(self.avgpool(self.relu(x))))


def _small_stem(in_channels: int, channels: int) -> nn.Sequential:
    """(B, C, H, W) → (B, 2k, H, W); the layers after it begin with a norm of their own."""
    return nn.Sequential(OrderedDict(conv0=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)))


def _imagenet_stem(in_channels: int, channels: int) -> nn.Sequential:
    """(B, C, H, W) → (B, 2k, H / 4, W / 4), rounded up."""
    return nn.Sequential(
        OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, padding=1),
        )
    )


def _transition(in_channels: int, out_channels: int, *, dropout: float) -> nn.Sequential:
    """(B, in, H, W) → (B, out, H / 2, W / 2), rounded down."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(in_channels, out_channels, 1, bias=False),
            dropout=nn.Dropout(dropout),
            pool=nn.AvgPool2d(2),
        )
    )
