"""Pools by name: the maximum, the average, the minimum or the L2 norm of a window.

The L2 norm: Boureau, Ponce, LeCun: "A Theoretical Analysis of Feature Pooling in Visual Recognition", ICML 2010; Sermanet, Chintala, LeCun:
"Convolutional Neural Networks Applied to House Numbers Digit Classification", 2012, arXiv 1204.3968.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Pool = Literal["max", "average", "min", "l2"]


class MinPool2d(nn.Module):
    """The smallest value of each window: (B, C, H, W) → (B, C, H', W'); `stride` is `kernel` if not given."""

    def __init__(self, kernel: int, stride: int | None = None) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride or kernel

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return -F.max_pool2d(-x, self.kernel, self.stride)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{self.kernel}, stride={self.stride}"


def pool2d(kind: Pool, kernel: int, stride: int | None = None) -> nn.Module:
    """A pool of that kind; `stride` is `kernel` if not given, and smaller where windows overlap."""
    match kind:
        case "max":
            return nn.MaxPool2d(kernel, stride)
        case "average":
            return nn.AvgPool2d(kernel, stride)
        case "min":
            return MinPool2d(kernel, stride)
        case "l2":
            return nn.LPPool2d(2, kernel, stride)  # the root of the sum of squares
