"""The network of Bouvrie's note: convolutions and trained subsampling in turn.

Bouvrie: "Notes on Convolutional Neural Networks", MIT Center for Biological and Computational Learning, 2006
(http://cogprints.org/5869/). Here: layers of convolution, each followed by the subsampling of section 3.2 (`layer/subsampling.py`), with
the activation f after both, and a dense layer with f at the end, to be trained on squared error (`loss=mse`; with `tanh` and `scaled_tanh`
`loss.targets=plus_minus`). `combinations` makes all convolutions but the first learn which maps they combine (section 3.3,
`layer/combination.py`); the first sees the picture itself. Derivatives are autograd's; the tests have the note's own beside them.

The note gives no sizes: 6 and 12 maps, 5×5 kernels and 2×2 blocks are those of the widely used code after it (Palm, DeepLearnToolbox,
2012, 6c-2s-12c-2s), which reports 1.2 % error on MNIST after 100 epochs; its subsampling is a plain average.

Deviations:
- Without `combinations` each map sees all maps before it; the note leaves their choice open.
- `*` is cross-correlation, the note's is true convolution: the same with kernels turned by 180°.
- The start is ours: Glorot and Bengio's (2010) for kernels and dense weights, averages for the subsampling, both divided by f's slope at
  0, and biases with which inputs in the middle of f's range give the middle again. Without the two, the sigmoid form's signals die away
  (two slopes of 1/4 in every stage): it stays at 10 % on the digits.
- What it puts out in place of logits is f's: from 0 to 1, -1 to 1 or -1.7159 to 1.7159.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.activation import activation as activation_of
from cnntrain.layer.combination import Combination
from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.subsampling import Subsampling
from cnntrain.layer.window import Window, final_map_size
from cnntrain.units import Count, NonNegative

# f(0), the middle of its range, and its slope there
_AT_ZERO = {"sigmoid": (0.5, 0.25), "tanh": (0.0, 1.0), "scaled_tanh": (0.0, 1.7159 * 2 / 3)}


class Bouvrie(nn.Module):
    """A stage (convolution, f, subsampling, f) for each of `widths`, then dense and f: (B, C, H, W) → (B, K).

    Raises:
        ConfigError: the images are too small, or there is a penalty and nothing that it could be of.
    """

    def __init__(
        self,
        *,
        widths: tuple[Count, ...] = (6, 12),
        kernel: Count = 5,
        block: Count = 2,
        activation: Literal["sigmoid", "tanh", "scaled_tanh"] = "sigmoid",
        combinations: bool = False,
        penalty: Literal["none", "l1", "entropy"] = "none",
        penalty_weight: NonNegative = 0.2,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        windows = [
            window
            for stage in range(len(widths))
            for window in (Window(f"stages.{stage}.conv", kernel), Window(f"stages.{stage}.pool", block, block))
        ]
        size = final_map_size(image_size, lambda _: windows, net="Bouvrie")
        maps = [in_channels, *widths]
        self.stages = nn.Sequential()
        for stage, (inputs, outputs) in enumerate(pairwise(maps)):
            mixes = combinations and stage > 0
            conv = Combination(inputs, outputs, kernel=kernel) if mixes else nn.Conv2d(inputs, outputs, kernel)
            pool = Subsampling(outputs, size=block)
            act1, act2 = activation_of(activation), activation_of(activation)
            self.stages.append(nn.Sequential(OrderedDict(conv=conv, act1=act1, pool=pool, act2=act2)))
        self.flatten = PixelMajorFlatten()
        self.fc = nn.Linear(maps[-1] * size * size, num_classes)
        self.act = activation_of(activation)
        middle, slope = _AT_ZERO[activation]
        _initialise(self, middle=middle, slope=slope)
        self.made_for = f"loss=mse loss.targets={'zero_one' if activation == 'sigmoid' else 'plus_minus'}"
        self._penalty, self._penalty_weight = penalty, penalty_weight
        if penalty != "none" and not self._combinations():
            raise ConfigError(
                f"the penalty {penalty} is of learned combinations, and this net has none",
                where="model.penalty",
                fix="model.combinations=true" if not combinations and len(widths) > 1 else "model.penalty=none",
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the outputs of f (B, K), which serve as logits."""
        x = self.stages(x)  # (B, 12, 4, 4) with the defaults at 28×28, (B, 12, 5, 5) at 32×32
        return self.act(self.fc(self.flatten(x)))

    def penalty(self) -> Tensor:
        """What training adds to the loss: λ times the penalty of all combinations, a scalar; 0 for `none`."""
        if self._penalty == "none":
            return self.fc.bias.new_zeros(())
        return self._penalty_weight * sum(layer.penalty(self._penalty) for layer in self._combinations())

    def _combinations(self) -> list[Combination]:
        return [module for module in self.modules() if isinstance(module, Combination)]


@torch.no_grad()
def _initialise(net: nn.Module, *, middle: float, slope: float) -> None:
    """Let a signal about the middle of f's range pass through each layer and f about as large as it came.

    The picture itself, the first layer's input, is about 0.
    """
    centre = 0.0
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=1 / slope)
            layer.bias.copy_(-centre * layer.weight.flatten(1).sum(1))
        elif isinstance(layer, Combination):
            layer.weight /= slope
            layer.bias.copy_(-centre * layer.weight.sum((1, 2)) @ layer.shares())
        elif isinstance(layer, Subsampling):
            layer.weight /= slope
            layer.bias.fill_(-centre / slope)
        else:
            continue
        centre = middle
