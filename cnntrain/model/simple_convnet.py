"""SimpleConvNet: the small convolutional network of a textbook's first chapter on them.

Saitoh: "Deep Learning from Scratch" (ゼロから作る Deep Learning), O'Reilly Japan 2016, ISBN 978-4-87311-758-4, chapter 7
(published code: oreilly-japan/deep-learning-from-scratch, ch07/simple_convnet.py).
conv - ReLU - 2×2 max pool - dense - ReLU - dense; weights N(0, weight_init_std²), biases 0. 433,890 parameters at 28×28×1 and 10 classes.

Deviations:
- Its `output_size` is the run's number of classes and its `input_dim` the run's image, so neither is a key here.
- The map is flattened pixel by pixel (`layer/flatten.py`), the book's map by map: a permutation of the first dense layer's columns.
- The softmax belongs to the loss.
- `pad` takes `same`, `valid` and `full` too, and sizes that do not divide evenly are rounded down, as torch does.
"""

from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.padded_convolution import Conv2d
from cnntrain.layer.window import Window, final_map_size
from cnntrain.units import Count, Positive, Size


class SimpleConvNet(nn.Module):
    """One convolution, one pool, two dense layers: (B, C, H, W) → (B, K)."""

    def __init__(
        self,
        *,
        filter_num: Count = 30,
        filter_size: Count = 5,
        stride: Count = 1,
        pad: Size | Literal["same", "valid", "full"] = 0,
        hidden_size: Count = 100,
        weight_init_std: Positive = 0.01,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        windows = [Window("conv1", filter_size, stride, pad), Window("pool1", 2, 2)]
        size = final_map_size(image_size, lambda _: windows, net="SimpleConvNet")
        self.conv1 = Conv2d(in_channels, filter_num, filter_size, stride=stride, padding=pad)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.flatten = PixelMajorFlatten()
        self.fc1 = nn.Linear(filter_num * size * size, hidden_size)
        self.relu2 = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden_size, num_classes)
        for layer in (self.conv1, self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=weight_init_std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are the defaults' at 28×28."""
        x = self.relu1(self.conv1(x))  # (B, 30, 24, 24)
        x = self.flatten(self.pool1(x))  # (B, 4320)
        return self.fc2(self.relu2(self.fc1(x)))
