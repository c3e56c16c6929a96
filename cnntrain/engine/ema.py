"""Exponential moving average of the weights (Polyak and Juditsky 1992; as in timm and airbench)."""

import copy

import torch
from torch import Tensor, nn

from cnntrain.units import Count, Decay


class NoAverage:
    """No average: the model itself is what is judged."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def update(self, step: int) -> None:
        """Do nothing."""

    def tensors(self) -> dict[str, Tensor]:
        """Nothing to save."""
        return {}


class Average:
    """Holds ``average ← decay·average + (1−decay)·weights``, and the buffers as they are.

    Early on the decay is ``(1+n)/(10+n)`` for the n-th update, so that the random start is forgotten soon.
    """

    def __init__(self, model: nn.Module, *, decay: float, every: int) -> None:
        self.source, self.decay, self.every = model, decay, every
        self.model = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        if step % self.every:
            return
        count = step // self.every
        weight = 1 - min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(self.model.parameters()), [p.detach() for p in self.source.parameters()], weight)
        for mine, theirs in zip(self.model.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights and buffers by name."""
        return self.model.state_dict()


def ema(*, model: nn.Module, decay: Decay | None = None, every: Count = 1) -> Average | NoAverage:
    """The average of ``model``'s weights over time, updated after every ``every``-th step; ``decay: null`` is off."""
    return NoAverage(model) if decay is None else Average(model, decay=decay, every=every)
