"""Convolution whose output maps are learned mixtures of the input maps.

Bouvrie: "Notes on Convolutional Neural Networks", MIT 2006, section 3.3. Each input map x_i has one kernel k_i, and
x_j = f(Σ_i α_ij (x_i * k_i) + b_j) with α_ij = exp c_ij / Σ_k exp c_kj, so that each column of α (an output map's shares) lies in [0, 1]
and sums to 1. ∂E/∂c_ij = α_ij (∂E/∂α_ij - Σ_k α_kj ∂E/∂α_kj).

Section 3.3.1 would make the columns sparse by the penalty λ·Σ|α_ij|. On a softmax column that sum is the constant 1: its gradient is zero
and it does nothing (a slip of the note). It is here as written, and beside it the columns' entropy -Σ_i α_ij log α_ij, which is smallest
(0) where a column has a single share of 1 and largest (log C) where all are the same.

Deviations:
- `*` is cross-correlation, as everywhere in torch; the note's is true convolution, which is the same with kernels turned by 180°.
- The start is ours, the note has none: k_i as Glorot and Bengio (2010) have it for one map to one map, since a mixture is as large as one
  map; c_ij from N(0, 1), so that no two columns are the same, which else would make the same map twice.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Combination(nn.Module):
    """The net input of the note's layer, without its f: (B, C, H, W) → (B, K, H - n + 1, W - n + 1) for kernels of n×n.

    `weight` (C, n, n) are the kernels k, `scores` (C, K) the c, `bias` (K) the b.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, kernel, kernel))
        self.scores = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        bound = 3**0.5 / kernel  # sqrt(6 / (fan_in + fan_out)), both n²
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.normal_(self.scores)

    def shares(self) -> Tensor:
        """α, of shape (C, K): each column sums to 1."""
        return self.scores.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        """Σ_i α_ij (x_i * k_i) + b_j, as one convolution with the kernels α_ij k_i."""
        return F.conv2d(x, self.shares().T[:, :, None, None] * self.weight, self.bias)

    def penalty(self, kind: Literal["l1", "entropy"]) -> Tensor:
        """Sum over the columns of Σ_i |α_ij| (the constant K), or of their entropy in nats: a scalar."""
        if kind == "l1":
            return self.shares().abs().sum()
        # through the logarithm of the softmax, which stays finite where a share is rounded to 0
        return -(self.shares() * self.scores.log_softmax(0)).sum()

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        channels, kernel, _ = self.weight.shape
        return f"{channels}, {len(self.bias)}, kernel={kernel}"
