"""The convolutional maxout networks: no activation but the largest of several linear maps, made for dropout.

Goodfellow, Warde-Farley, Mirza, Courville, Bengio: "Maxout Networks", ICML 2013, arXiv 1302.4389, section 5; sizes, starting weights and
dropout from the authors' files (pylearn2, scripts/papers/maxout/mnist.yaml and cifar10_no_aug.yaml).
Three convolutional maxout layers with overlapping max pools, for CIFAR-10 a dense maxout layer of 500 units of 5 pieces, a dense output.
In place of pieces of one kernel size, `multi_scale` lets kernels of several sizes compete: Liao, Carneiro: "Competitive Multi-scale
Convolution", 2015, arXiv 1511.05635.

Deviations:
- The weights' norms are not bounded (the authors: 0.9 for a filter of the first layer, 1.9365 later, 1.9 for a dense column, after every
  step); weight decay is what there is.
- One bias for each map; the authors' net for MNIST has one for each of its pixels (mnist.yaml leaves pylearn2's `tied_b` at False).
- Dropout in the inverted form, at the input too, where the authors do not scale.
- The authors' pictures are normalised for contrast and whitened (GCN, ZCA), ours by channel.
- Pictures of any size that fits: the map before the first dense layer is what the pools leave.
- `multi_scale`: kernels of 1 to the layer's size in steps of two, one piece each, with batch norm, on maps that keep their size; the second
  paper has nets of its own, of which only the module is here.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.maxout import Maxout, MultiScaleMaxout
from cnntrain.layer.window import Window, final_map_size
from cnntrain.units import Decay, Positive


@dataclass(frozen=True)
class _Layer:
    """A convolutional maxout layer: channels, pieces of each, kernel, padding, and its pool's kernel (stride 2, rounding up)."""

    channels: int
    pieces: int
    kernel: int
    padding: int
    pool: int


_LAYERS = {
    "mnist": (_Layer(48, 2, 8, 0, 4), _Layer(48, 2, 8, 3, 4), _Layer(24, 4, 5, 3, 2)),
    "cifar10": (_Layer(96, 2, 8, 4, 4), _Layer(192, 2, 8, 3, 4), _Layer(192, 2, 5, 3, 2)),
}
_DENSE = {"mnist": None, "cifar10": (500, 5)}  # units and pieces


class MaxoutNet(nn.Module):
    """Three maxout convolutions with pools, a maxout dense layer (CIFAR-10's form), a dense layer: (B, C, H, W) → (B, K)."""

    def __init__(
        self,
        *,
        form: Literal["mnist", "cifar10"],
        multi_scale: bool = False,
        input_dropout: Decay = 0.2,
        dropout: Decay = 0.5,
        weight_init_range: Positive = 0.005,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        layers = _LAYERS[form]
        windows = [window for number, layer in enumerate(layers, start=1) for window in _windows(number, layer, multi_scale)]
        size = final_map_size(image_size, lambda _: windows, net="MaxoutNet")
        self.stages = nn.Sequential()
        channels = in_channels
        for number, layer in enumerate(layers, start=1):
            self.stages.append(
                nn.Sequential(
                    nn.Dropout(input_dropout if number == 1 else dropout),
                    _convolution(channels, layer, multi_scale),
                    nn.MaxPool2d(layer.pool, 2, ceil_mode=True),
                )
            )
            channels = layer.channels
        self.flatten = nn.Flatten()
        features, dense = channels * size * size, _DENSE[form]
        self.hidden: nn.Module = nn.Identity()
        if dense:
            units, pieces = dense
            self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, units * pieces), Maxout(pieces))
            features = units
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.uniform_(module.weight, -weight_init_range, weight_init_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are MNIST's form at 28 and CIFAR-10's at 32."""
        x = self.flatten(self.stages(x))  # (B, 24·3·3) | (B, 192·5·5)
        x = self.hidden(x)  # the same | (B, 500)
        return self.fc(self.dropout(x))


def _convolution(in_channels: int, layer: _Layer, multi_scale: bool) -> nn.Module:
    if multi_scale:
        return MultiScaleMaxout(in_channels, layer.channels, range(1, layer.kernel + 1, 2))
    return nn.Sequential(nn.Conv2d(in_channels, layer.channels * layer.pieces, layer.kernel, padding=layer.padding), Maxout(layer.pieces))


def _windows(number: int, layer: _Layer, multi_scale: bool) -> list[Window]:
    kernel = Window(f"stages.{number - 1}.1", layer.kernel, padding="same" if multi_scale else layer.padding)
    return [kernel, Window(f"stages.{number - 1}.2", layer.pool, 2, ceil=True)]
