"""Paths that are left out in training: stochastic depth for one branch, drop-path and freeze-path where several meet.

Stochastic depth (:class:`DropPath`): Huang, Sun, Liu, Sedra, Weinberger: "Deep Networks with Stochastic Depth", ECCV 2016, arXiv
1603.09382. A residual branch is left out with some probability, which rises linearly over the blocks, to 0.5 at the last one.

Drop-path (:class:`PathJoin`): Larsson, Maire, Shakhnarovich: "FractalNet", ICLR 2017, arXiv 1605.07648, section 3. A join takes the mean
of the inputs that are not dropped. Local: each is dropped with some probability, but one always stays. Global: one column of the whole
net stays, everywhere the same. Freeze-path, after Smith, Topin: "Deep Convolutional Neural Network Design Patterns", 2016, arXiv
1611.00847: what would be dropped is still counted, but not trained.

Deviations:
- All is drawn per sample, where the papers draw once for a batch: the same expectation, less noise in the gradient, every path learns in
  every step. (What is dropped is computed nevertheless, so no time is saved.)
- Stochastic depth in the inverted form: what stays is divided by the probability of staying, in training, where the paper multiplies by it
  when testing.
- Freeze-path here takes drop-path's draws; the paper's own scheme goes through the branches in turn, and drops those not yet trained.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cnntrain.units import Decay


class DropPath(nn.Module):
    """Zero a branch for a whole sample with probability `rate`, and divide by 1 - rate: (B, …) → (B, …). In evaluation the identity."""

    def __init__(self, rate: Decay = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop by torch's global generator; the input is not written to."""
        if not self.training or self.rate == 0:
            return x
        stays = torch.empty(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)  # (B, 1, …)
        return x * (stays / (1 - self.rate))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"rate={self.rate}"


def linear_rates(last: Decay, *, num_blocks: int) -> list[float]:
    """The paper's rule for the rate of each of `num_blocks` blocks: block l of L has l/L of the `last` one's."""
    return [last * number / num_blocks for number in range(1, num_blocks + 1)]


def global_columns(num_samples: int, *, columns: int, share: float, device: torch.device) -> list[Tensor]:
    """Which column alone is to stay for which samples: a row of 0 and 1 (B,) for each column, all 0 for samples of local drop-path.

    A `share` of the samples, by chance, is sampled globally, each column as likely as the others.
    """
    return _dealt(torch.empty(num_samples, device=device).bernoulli_(share), columns)


def _dealt(ones: Tensor, count: int) -> list[Tensor]:
    """The 1s of a row (B,), each given to one of `count` rows by chance."""
    rows = []
    for left in range(count, 0, -1):
        rows.append(ones * torch.empty(ones.shape, device=ones.device).bernoulli_(1 / left))
        ones = ones - rows[-1]
    return rows


class PathJoin(nn.Module):
    """The mean of what the last n columns give, of which some are dropped in training, sample by sample.

    `rate` is local drop-path's. `paths`: what is dropped is left out of the mean (`drop`), or counts in it but gets no gradient (`freeze`).
    """

    def __init__(self, *, rate: Decay, paths: Literal["drop", "freeze"] = "drop") -> None:
        super().__init__()
        self.rate, self.paths = rate, paths

    def forward(self, branches: Sequence[Tensor], only: Sequence[Tensor] | None = None) -> Tensor:
        """Branches (B, C, H, W), the deepest column's last → (B, C, H, W); `only` from :func:`global_columns`, None for the mean of all."""
        if only is None:
            return functools.reduce(torch.add, branches) / len(branches)
        kept = self.kept(len(branches), only)
        if self.paths == "freeze":
            parts = [_shaped(stays, x) * x + _shaped(1 - stays, x) * x.detach() for stays, x in zip(kept, branches, strict=True)]
            return functools.reduce(torch.add, parts) / len(parts)
        count = functools.reduce(torch.add, kept)
        return functools.reduce(torch.add, [_shaped(stays / count, x) * x for stays, x in zip(kept, branches, strict=True)])

    def kept(self, num_branches: int, only: Sequence[Tensor]) -> list[Tensor]:
        """For each branch the samples for which it stays: rows of 0 and 1 (B,), at least one 1 for each sample."""
        local = [torch.empty(only[0].shape, device=only[0].device).bernoulli_(1 - self.rate) for _ in range(num_branches)]
        none = functools.reduce(torch.mul, [1 - stays for stays in local])
        local = [stays + saved for stays, saved in zip(local, _dealt(none, num_branches), strict=True)]
        here = only[-num_branches:]
        # Where the chosen column does not end in this join, the join leads only into columns that a later one drops: all may stay.
        elsewhere = functools.reduce(torch.add, only) - functools.reduce(torch.add, here)
        is_local = 1 - functools.reduce(torch.add, only)
        return [is_local * stays + chosen + elsewhere for stays, chosen in zip(local, here, strict=True)]

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"rate={self.rate}, paths={self.paths}"


def _shaped(row: Tensor, x: Tensor) -> Tensor:
    """A row (B,) as it multiplies maps (B, C, H, W)."""
    return row.to(x.dtype)[:, None, None, None]
