"""The one-layer network of a cats-against-dogs tutorial (SPEC N3; no paper).

conv 10@5×5 valid - ReLU - 2×2 max pool - flatten - dense. At 300×300×3: 219,801 parameters with one output unit, 438,842 with two.

Deviations: the source's single sigmoid unit z is returned as the logits [0, z], whose softmax is (1 - sigmoid(z), sigmoid(z)), so cross
entropy over them is the binary cross entropy of the source and every loss, metric and tool for (B, K) logits applies. Two classes
are then all it can tell apart; `one_output: false` is the same net with one unit a class, for any number of classes.
The map is flattened pixel by pixel, as in Keras (`layer/flatten.py`).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.window import Window, final_map_size


class CatsDogsCNN(nn.Module):
    """One convolution, one pool, one dense layer: (B, C, H, W) → (B, K)."""

    def __init__(self, *, one_output: bool = False, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        if one_output and num_classes != 2:
            raise ConfigError(
                f"one output unit tells two classes apart, the data have {num_classes}",
                where="model.one_output",
                fix="model.one_output=false",
            )
        windows = [Window("conv1", 5), Window("pool1", 2, 2)]
        size = final_map_size(image_size, lambda _: windows, net="CatsDogsCNN")
        self.one_output = one_output
        self.conv1 = nn.Conv2d(in_channels, 10, 5)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.flatten = PixelMajorFlatten()
        self.fc1 = nn.Linear(10 * size * size, 1 if one_output else num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 300×300."""
        x = self.pool1(self.relu1(self.conv1(x)))  # (B, 10, 148, 148)
        logits = self.fc1(self.flatten(x))  # (B, 1) or (B, K)
        return F.pad(logits, (1, 0)) if self.one_output else logits
