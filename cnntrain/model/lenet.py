"""LeNet-5, in the form that goes by this name today and in the paper's own.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998,
doi 10.1109/5.726791, section II.B. Here: its sequence of layers and their widths (6, 16, 120, 84). At 32×32×1 and 10 classes `LeNet5` has
61,706 parameters, and `LeNet5Classic` the paper's 60,000.

Deviations of both:
- Images below 32×32 are padded by 2 pixels a side in the first convolution, so that MNIST's 28×28 gives the paper's 32×32 and the
  same parameters (the paper pads the pictures themselves).
- The layer C5 spans the whole map, which is the paper's 5×5 at 32×32 and lets other image sizes in (there they give a map of outputs).

Deviations of `LeNet5`, all of them what is called LeNet-5 today:
- Plain 2×2 pools in place of the trainable subsampling; the pooled map has no coefficient or bias of its own.
- The third layer's maps are joined to all maps before them (the paper's table of partial connections saved time in 1998).
- A dense output layer and softmax in place of radial basis functions with fixed codes.
- ReLU by default (the paper's is `scaled_tanh`), and none after the pools; C5 is written as a dense layer over the flattened map.
- The flattened map's order is pixel by pixel (`layer/flatten.py`), which only permutes weights.

Deviations of `LeNet5Classic`:
- The logits are minus the paper's distances, so that the nearest class has the largest; `loss=map_criterion` is its equation 9.
- Biases start at 0. The paper (appendix A) draws "the weights" from ±2.4 / fan-in and does not speak of them.
- The digits' codes are pictures of our own, and other classes have other codes: see `layer/radial_basis.py`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.layer.activation import Activation
from cnntrain.layer.activation import activation as activation_of
from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.pooling import Pool, pool2d
from cnntrain.layer.radial_basis import CODE_LENGTH, RadialBasis
from cnntrain.layer.subsampling import Subsampling
from cnntrain.layer.window import Window, final_map_size

# table I of the paper: the maps of S2 that each map of C3 sees
_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(nn.Module):
    """Two 5×5 convolutions with pools, three dense layers: (B, C, H, W) → (B, K); images of 12×12 or more."""

    def __init__(
        self,
        *,
        activation: Activation = "relu",
        pool: Pool = "max",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        size = final_map_size(image_size, _windows, net="LeNet5")
        self.choices = {"padding": _padding_in_words(image_size)}
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=_padding(image_size))
        self.act1 = activation_of(activation)
        self.pool1 = pool2d(pool, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.act2 = activation_of(activation)
        self.pool2 = pool2d(pool, 2)
        self.flatten = PixelMajorFlatten()
        self.fc1 = nn.Linear(16 * size * size, 120)
        self.act3 = activation_of(activation)
        self.fc2 = nn.Linear(120, 84)
        self.act4 = activation_of(activation)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 28×28 and 32×32."""
        x = self.pool1(self.act1(self.conv1(x)))  # (B, 6, 14, 14)
        x = self.pool2(self.act2(self.conv2(x)))  # (B, 16, 5, 5)
        x = self.act3(self.fc1(self.flatten(x)))  # (B, 120)
        return self.fc3(self.act4(self.fc2(x)))


class LeNet5Classic(nn.Module):
    """The paper's layers, each with its scaled tanh, and its output units: (B, C, H, W) → (B, K); images of 12×12 or more."""

    def __init__(self, *, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        size = final_map_size(image_size, _windows, net="LeNet5Classic")
        codes = "pictures of the digits (10 classes)" if num_classes == 10 else f"fixed random signs ({num_classes} classes)"
        self.choices = {"padding": _padding_in_words(image_size), "codes": codes}
        self.made_for = "loss=map_criterion"
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=_padding(image_size))
        self.act1 = activation_of("scaled_tanh")
        self.pool1 = Subsampling(6)
        self.act2 = activation_of("scaled_tanh")
        self.conv2 = PartialConv2d(6, _TABLE, kernel=5)
        self.act3 = activation_of("scaled_tanh")
        self.pool2 = Subsampling(16)
        self.act4 = activation_of("scaled_tanh")
        self.conv3 = nn.Conv2d(16, 120, size)
        self.act5 = activation_of("scaled_tanh")
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(120, CODE_LENGTH)
        self.act6 = activation_of("scaled_tanh")
        self.distance = RadialBasis(num_classes)
        layers = (self.conv1, 25 * in_channels), (self.pool1, 4), (self.pool2, 4), (self.conv3, 16 * size * size), (self.fc1, 120)
        for layer, fan_in in layers:  # conv2 has its own
            nn.init.uniform_(layer.weight, -2.4 / fan_in, 2.4 / fan_in)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K), none above 0. Shapes in the comments are those of 28×28 and 32×32."""
        x = self.act1(self.conv1(x))  # C1: (B, 6, 28, 28)
        x = self.act2(self.pool1(x))  # S2: (B, 6, 14, 14)
        x = self.act3(self.conv2(x))  # C3: (B, 16, 10, 10)
        x = self.act4(self.pool2(x))  # S4: (B, 16, 5, 5)
        x = self.act5(self.conv3(x))  # C5: (B, 120, 1, 1)
        x = self.act6(self.fc1(self.flatten(x)))  # F6: (B, 84)
        return -self.distance(x)


class PartialConv2d(nn.Module):
    """A convolution whose output map j sees the input maps in `table[j]` alone: (B, C, H, W) → (B, K, H - n + 1, W - n + 1).

    `weight` holds the kernels that there are, one after another as in the table; they start from ±2.4 / fan-in of the map they lead to.
    """

    def __init__(self, in_channels: int, table: Sequence[Sequence[int]], *, kernel: int) -> None:
        super().__init__()
        self.shape = (len(table), in_channels, kernel, kernel)
        pairs = [(j, i) for j, maps in enumerate(table) for i in maps]
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(len(table)))
        # which kernel leads from each input to each output map; where none does, the one of zeros after the last
        kernels = {pair: number for number, pair in enumerate(pairs)}
        places = [kernels.get((j, i), len(pairs)) for j in range(len(table)) for i in range(in_channels)]
        self.register_buffer("places", torch.tensor(places))
        fan_in = torch.tensor([float(kernel * kernel * len(table[j])) for j, _ in pairs])
        nn.init.uniform_(self.weight, -2.4, 2.4)
        with torch.no_grad():
            self.weight /= fan_in[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """One full convolution, with zeros where the table has no connection: 2,400 numbers are laid out faster than 16 maps are."""
        kernels = torch.cat([self.weight, self.weight.new_zeros(1, *self.shape[2:])])
        full = kernels.index_select(0, self.places)
        return F.conv2d(x, full.view(self.shape), self.bias)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        outputs, inputs, kernel, _ = self.shape
        return f"{inputs}, {outputs}, kernel={kernel}, {len(self.weight)} of {outputs * inputs} connections"


def _padding(image_size: int) -> int:
    return 2 if image_size < 32 else 0


def _padding_in_words(image_size: int) -> str:
    return f"2 in conv1 (image {image_size} < 32)" if _padding(image_size) else f"none (image {image_size} >= 32)"


def _windows(image_size: int) -> list[Window]:
    return [Window("conv1", 5, padding=_padding(image_size)), Window("pool1", 2, 2), Window("conv2", 5), Window("pool2", 2, 2)]
