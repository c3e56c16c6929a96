"""LeNet-5 and ResNet-20 as the peers' users write them, in plain torch; layer by layer cnntrain's own (a test compares them).

cnntrain's classes would serve, but some of their parts are laid out for channels_last, which the peers do not use.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def lenet5() -> nn.Module:
    """(B, 1, 28, 28) → (B, 10): 61,706 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two 3×3 convolutions and shortcut A: (B, inner, H, W) → (B, outer, H / stride, W / stride)."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.stride, self.new = outer // inner, outer - inner
        self.conv1 = nn.Conv2d(inner, outer, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x))."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(out + x)


def resnet20() -> nn.Module:
    """(B, 3, 32, 32) → (B, 10): 269,722 parameters."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Block(inner, outer) for inner, outer in zip(widths[:-1], widths[1:], strict=True)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


NETS = {"lenet5": lenet5, "resnet20": resnet20}
