"""Subsampling with a trained coefficient and bias for each map, as before the days of plain pools.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998, doi
10.1109/5.726791, section II.B (layers S2, S4). Bouvrie: "Notes on Convolutional Neural Networks", MIT 2006, section 3.2:
x_j = f(β_j · down(x_j) + b_j), where `down` sums each distinct n×n block.

With δ the error at the net input u_j = β_j · down(x_j) + b_j, the sums being over a map: ∂E/∂b_j = Σ δ_j, ∂E/∂β_j = Σ δ_j ∘ down(x_j), and
x_j receives β_j · up(δ_j), `up` being the Kronecker product with ones(n×n).

Deviation: rows and columns that fill no block are left out, as torch's pools do; the papers' maps divide evenly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Subsampling(nn.Module):
    """The net input u of the paper's layer, without its f: (B, C, H, W) → (B, C, H // n, W // n) for n = `size`.

    `weight` is β and starts at 1/n², so that the layer starts as an average; `bias` is b and starts at 0.
    """

    def __init__(self, channels: int, *, size: int = 2) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.full((channels,), 1 / size**2))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """β · (sum of each block) + b."""
        sums = F.avg_pool2d(x, self.size, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{len(self.weight)}, size={self.size}"
