"""Maxout: a unit's value is the largest of several linear functions, and that is all of its nonlinearity.

Goodfellow, Warde-Farley, Mirza, Courville, Bengio: "Maxout Networks", ICML 2013, arXiv 1302.4389. :class:`Maxout` stands behind a dense
layer or a convolution that has `pieces` outputs for each unit.
Across branches: Liao, Carneiro: "Competitive Multi-scale Convolution", 2015, arXiv 1511.05635, where kernels of different sizes compete.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnntrain.layer.join import Join


class Maxout(nn.Module):
    """The largest of each unit's pieces: (B, pieces·C, …) → (B, C, …); piece p of unit c is channel p·C + c."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Take the maximum, piece by piece."""
        return functools.reduce(torch.maximum, x.chunk(self.pieces, dim=1))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"pieces={self.pieces}"


class MultiScaleMaxout(nn.Module):
    """Convolutions of several odd kernel sizes over the same map, normalised, of which the largest counts: (B, in, H, W) → (B, out, H, W).

    As in the second paper each branch ends in batch norm, so that no size wins by its scale alone.
    """

    def __init__(self, in_channels: int, out_channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out_channels))
            for kernel in kernels
        )
        self.join = Join("maximum")

    def forward(self, x: Tensor) -> Tensor:
        """Every branch, and their maximum."""
        return self.join([branch(x) for branch in self.branches])
