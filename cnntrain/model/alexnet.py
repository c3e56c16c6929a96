"""AlexNet: the original in two towers, and the later single tower.

Krizhevsky, Sutskever, Hinton: "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012 (reprinted in CACM
60(6), 2017, doi 10.1145/3065386).
Here: `AlexNet`, with the connections of its two GPUs (conv2, 4 and 5 see only the maps of their own half), local response
normalisation, overlapping pools, dropout behind both hidden dense layers, and the paper's starting weights: N(0, 0.01²), biases 1 in
conv2, 4, 5 and in the hidden dense layers, 0 elsewhere. 60,965,224 parameters at 227×227×3 and 1000 classes.

Krizhevsky: "One weird trick for parallelizing convolutional neural networks", 2014, arXiv 1404.5997.
Here: `SingleTowerAlexNet`, as torchvision has it: its weights load by name, and the logits are the same. 61,100,840 parameters.

Deviations of the original:
- The paper says 224×224, but its maps of 55×55 need 227, or windows that reach over the edge, which its code (cuda-convnet) lets hang
  over the right and lower one. Here conv1 is padded on all sides by as little as brings its windows to the edge: 2 pixels at 224, none
  at 227; both give 55×55.
- The response norm's sum crosses the border between the towers, as the formula says; on two GPUs it cannot have.
- The last map is flattened pixel by pixel (`layer/flatten.py`), which only permutes fc6's columns.

Deviations of the single tower, all torchvision's: no response norm (the author's layer file keeps it), dropout before the hidden dense
layers in place of behind them, torch's starting weights, and an adaptive pool to 6×6, so that larger images fit.
"""

from torch import Tensor, nn

from cnntrain.layer.flatten import PixelMajorFlatten
from cnntrain.layer.response_norm import response_norm
from cnntrain.layer.window import Window, final_map_size
from cnntrain.units import Decay


class AlexNet(nn.Module):
    """The original: five convolutions in two towers, three dense layers; (B, C, H, W) → (B, K), images of 64×64 or more."""

    def __init__(self, *, dropout: Decay = 0.5, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        size = final_map_size(image_size, _windows, net="AlexNet")
        padding = _reach(image_size)
        self.choices = {"padding": f"{padding} in conv1, so that its windows reach the edge of an image of {image_size}"}
        self.conv1 = nn.Conv2d(in_channels, 96, 11, 4, padding=padding)
        self.relu1 = nn.ReLU(inplace=True)
        self.norm1 = response_norm()
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.norm2 = response_norm()
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.relu4 = nn.ReLU(inplace=True)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.relu5 = nn.ReLU(inplace=True)
        self.pool5 = nn.MaxPool2d(3, 2)
        self.flatten = PixelMajorFlatten()
        self.fc6 = nn.Linear(256 * size * size, 4096)
        self.relu6 = nn.ReLU(inplace=True)
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU(inplace=True)
        self.drop7 = nn.Dropout(dropout)
        self.fc8 = nn.Linear(4096, num_classes)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.fc6, self.fc7, self.fc8):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        for layer in (self.conv2, self.conv4, self.conv5, self.fc6, self.fc7):  # so that their ReLUs begin in the positive part
            nn.init.ones_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of 224×224 and 227×227."""
        x = self.pool1(self.norm1(self.relu1(self.conv1(x))))  # (B, 96, 55, 55), then (B, 96, 27, 27)
        x = self.pool2(self.norm2(self.relu2(self.conv2(x))))  # (B, 256, 13, 13)
        x = self.relu4(self.conv4(self.relu3(self.conv3(x))))  # (B, 384, 13, 13)
        x = self.pool5(self.relu5(self.conv5(x)))  # (B, 256, 6, 6)
        x = self.drop6(self.relu6(self.fc6(self.flatten(x))))  # (B, 4096)
        x = self.drop7(self.relu7(self.fc7(x)))  # (B, 4096)
        return self.fc8(x)


class SingleTowerAlexNet(nn.Module):
    """Five convolutions in one tower, three dense layers: (B, C, H, W) → (B, K); images of 63×63 or more."""

    def __init__(self, *, dropout: Decay = 0.5, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(  # shapes at 224×224
            nn.Conv2d(in_channels, 64, 11, 4, padding=2),  # (B, 64, 55, 55)
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),  # (B, 64, 27, 27)
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),  # (B, 192, 13, 13)
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),  # (B, 256, 6, 6)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K)."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def _reach(image_size: int) -> int:
    """Padding a side with which windows of 11 pixels at stride 4 leave no pixel out."""
    left_over = (11 - image_size) % 4  # pixels that the last window would reach over the edge
    return (left_over + 1) // 2


def _windows(image_size: int) -> list[Window]:
    return [
        Window("conv1", 11, 4, _reach(image_size)),
        Window("pool1", 3, 2),
        Window("conv2", 5, padding=2),
        Window("pool2", 3, 2),
        *(Window(name, 3, padding=1) for name in ("conv3", "conv4", "conv5")),
        Window("pool5", 3, 2),
    ]
