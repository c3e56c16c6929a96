"""Where branches meet: their sum, concatenation, mean or maximum.

Sum: He et al. 2016, arXiv 1512.03385. Concatenation: Szegedy et al. 2014, arXiv 1409.4842. Mean: Larsson et al. 2017, arXiv 1605.07648.
Maximum (maxout across branches): Goodfellow et al. 2013, arXiv 1302.4389; Liao, Carneiro 2015, arXiv 1511.05635.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Joined = Literal["concatenation", "sum", "mean", "maximum"]


class Join(nn.Module):
    """Branches (B, C, H, W) → (B, C, H, W), element by element; `concatenation`: (B, sum of all C, H, W)."""

    def __init__(self, kind: Joined) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, branches: Sequence[Tensor]) -> Tensor:
        """Join one branch or more; none of them is written to."""
        if self.kind == "concatenation":
            return torch.cat(list(branches), dim=1)
        if self.kind == "maximum":
            return functools.reduce(torch.maximum, branches)
        total = functools.reduce(torch.add, branches)
        return total / len(branches) if self.kind == "mean" else total

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return self.kind
