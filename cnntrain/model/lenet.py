"""LeNet-5 in its modern form.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998,
doi 10.1109/5.726791. Here: its sequence of layers and their widths (6, 16, 120, 84); 61,706 parameters at 32×32×1 and 10 classes.

Deviations, all of them what is called LeNet-5 today:
- Plain 2×2 pools in place of the trainable subsampling; the pooled map has no coefficient, bias or sigmoid of its own.
- The third layer's maps are joined to all maps before them (the paper's table of partial connections saved time in 1998).
- A dense output layer and softmax in place of radial basis functions with fixed codes.
- ReLU by default (the paper: 1.7159·tanh(2x/3); here `tanh` is plain tanh); C5 is written as a dense layer over the flattened map,
  which is the same at 32×32 and lets other image sizes in.
- The flattened map's order is pixel by pixel (`layer/flatten.py`), which only permutes weights.
- Images below 32×32 are padded by 2 pixels a side in the first convolution, so that MNIST's 28×28 gives the paper's 32×32 and the
  same 61,706 parameters (the paper pads the pictures themselves).
"""

from typing import Literal

from torch import Tensor, nn

from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.window import Window, final_map_size

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU}
_POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


class LeNet5(nn.Module):
    """Two 5×5 convolutions with pools, three dense layers: (B, C, H, W) → (B, K); images of 12×12 or more."""

    def __init__(
        self,
        *,
        activation: Literal["relu", "tanh", "sigmoid", "elu"] = "relu",
        pool: Literal["max", "average"] = "max",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        padding = _padding(image_size)
        size = final_map_size(image_size, _windows, net="LeNet5")
        self.choices = {"padding": f"2 in conv1 (image {image_size} < 32)" if padding else f"none (image {image_size} >= 32)"}
        act, pooling = _ACTIVATIONS[activation], _POOLS[pool]
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.act1 = act()
        self.pool1 = pooling(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.act2 = act()
        self.pool2 = pooling(2)
        self.flatten = PixelMajorFlatten()
        self.fc1 = nn.Linear(16 * size * size, 120)
        self.act3 = act()
        self.fc2 = nn.Linear(120, 84)
        self.act4 = act()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 28×28 and 32×32."""
        x = self.pool1(self.act1(self.conv1(x)))  # (B, 6, 14, 14)
        x = self.pool2(self.act2(self.conv2(x)))  # (B, 16, 5, 5)
        x = self.act3(self.fc1(self.flatten(x)))  # (B, 120)
        return self.fc3(self.act4(self.fc2(x)))


def _padding(image_size: int) -> int:
    return 2 if image_size < 32 else 0


def _windows(image_size: int) -> list[Window]:
    return [Window("conv1", 5, padding=_padding(image_size)), Window("pool1", 2, 2), Window("conv2", 5), Window("pool2", 2, 2)]
