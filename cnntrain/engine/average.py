"""Averages of the weights over time: exponential, lookahead, stochastic weight averaging.

An average is given the facts ``model`` and ``clock``. Its ``model`` is what is judged and kept as best; ``update(step)`` takes in the
weights after ``step`` steps; ``tensors()`` is what a checkpoint keeps, by the names of the model's own; ``go_to(step)`` is told where a
run goes on, before they are put back. When it does what is a function of the step alone.
"""

import copy
from typing import Protocol

import torch
from torch import Tensor, nn

from cnntrain.engine.clock import Clock
from cnntrain.units import Count, Decay, Duration, DurationOrZero, NonNegative


class Average(Protocol):
    """What the loop and a checkpoint ask of an average."""

    @property
    def model(self) -> nn.Module:
        """The judged network; the trained one itself where there is no average (yet)."""
        ...

    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        ...

    def go_to(self, step: int) -> None:
        """The run goes on after ``step`` steps."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights and buffers by name; nothing if the trained network is judged."""
        ...


class NoAverage:
    """No average: the model itself is what is judged."""

    def __init__(self, *, model: nn.Module) -> None:
        self.model = model

    def update(self, step: int) -> None:
        """Do nothing."""

    def go_to(self, step: int) -> None:
        """Do nothing."""

    def tensors(self) -> dict[str, Tensor]:
        """Nothing to save."""
        return {}


class Ema:
    """Holds ``average ← decay·average + (1−decay)·weights``, and the buffers as they are (Polyak and Juditsky 1992; as in timm).

    Early on the decay is ``(1+n)/(10+n)`` for the n-th update, so that the random start is forgotten soon.
    """

    def __init__(self, *, model: nn.Module, decay: Decay = 0.999, every: Count = 1) -> None:
        self.decay, self.every = decay, every
        self.model, self._pairs = _twin(model)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        if step % self.every:
            return
        count = step // self.every
        self._pairs.parameters.lerp(1 - min(self.decay, (1 + count) / (10 + count)))
        self._pairs.buffers.copy()
        self._pairs.counts.copy()

    def go_to(self, step: int) -> None:
        """Do nothing."""

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights and buffers by name."""
        return self.model.state_dict()


class Lookahead:
    """Slow weights that follow the trained, fast ones, and to which these go back.

    Every ``every`` steps slow ← d·slow + (1−d)·fast, fast ← slow.
    Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back", arXiv 1907.08610, in the form of hlb-CIFAR10 and airbench
    (Jordan 2024, arXiv 2404.00498, section 3.4): d = decay^every · (step / total)^power, so that the weights move fast at first and are
    averaged strongly at the end; batch norm's statistics move with them. ``power: 0`` is the paper's, with 1−decay^every its α (0.5 at
    k = 5: decay 0.87). The slow weights are judged; after the run's last step the fast ones are the same.
    """

    def __init__(self, *, model: nn.Module, clock: Clock, decay: Decay = 0.95, every: Count = 5, power: NonNegative = 3.0) -> None:
        self.decay, self.every, self.power, self.total = decay, every, power, clock.total
        self.model, self._pairs = _twin(model)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps, and set them back."""
        due = step % self.every == 0
        if due:
            weight = 1 - self.decay**self.every * (step / self.total) ** self.power
            self._pairs.parameters.lerp(weight)
            self._pairs.buffers.lerp(weight)
            self._pairs.counts.copy()
        if due or step == self.total:
            self._pairs.parameters.copy_back()
            self._pairs.buffers.copy_back()

    def go_to(self, step: int) -> None:
        """Do nothing."""

    def tensors(self) -> dict[str, Tensor]:
        """The slow weights and buffers by name."""
        return self.model.state_dict()


class Swa:
    """The plain mean of the weights at every ``every`` after ``start``; until its first the trained model itself is judged.

    Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407; the schedule should keep
    the learning rate up, or cycle with ``every``. Deviation: the paper runs through the training set once more for batch norm's
    statistics; here they are averaged like the weights, which costs nothing and is what they would be but for the weights' own change.
    """

    def __init__(self, *, model: nn.Module, clock: Clock, start: DurationOrZero = "75%", every: Duration = 1) -> None:
        self.start, self.every = clock.steps(start), clock.steps(every)
        self.source, self._count = model, 0
        self._mean, self._pairs = _twin(model)

    @property
    def model(self) -> nn.Module:
        """The mean, once there is one."""
        return self._mean if self._count else self.source

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        if step <= self.start or (step - self.start) % self.every:
            return
        self.go_to(step)
        for pairs in (self._pairs.parameters, self._pairs.buffers):
            if self._count == 1:
                pairs.copy()  # what a run left there that was rolled back need not be finite, and 0 times that is not 0
            else:
                pairs.lerp(1 / self._count)
        self._pairs.counts.copy()

    def go_to(self, step: int) -> None:
        """Know how many weights the mean is of."""
        self._count = max(step - self.start, 0) // self.every

    def tensors(self) -> dict[str, Tensor]:
        """The mean of weights and buffers by name, once there is one."""
        return self._mean.state_dict() if self._count else {}


class _Pairs:
    """Tensors of the average, and those of the trained model, of one kind; all at once, for an accelerator."""

    def __init__(self, mine: list[Tensor], theirs: list[Tensor]) -> None:
        self.mine, self.theirs = [value.detach() for value in mine], [value.detach() for value in theirs]  # the same memory

    def lerp(self, weight: float) -> None:
        """Mine ← (1−weight)·mine + weight·theirs."""
        if self.mine:
            torch._foreach_lerp_(self.mine, self.theirs, weight)

    def copy(self) -> None:
        """Mine ← theirs."""
        if self.mine:
            torch._foreach_copy_(self.mine, self.theirs)

    def copy_back(self) -> None:
        """Theirs ← mine."""
        if self.mine:
            torch._foreach_copy_(self.theirs, self.mine)


class _Twins:
    """A model's copy and the model: parameters, buffers of floats (batch norm's statistics), and whole numbers (its counts)."""

    def __init__(self, mine: nn.Module, theirs: nn.Module) -> None:
        self.parameters = _Pairs(list(mine.parameters()), list(theirs.parameters()))
        pairs = list(zip(mine.buffers(), theirs.buffers(), strict=True))
        floats, whole = ([pair for pair in pairs if pair[0].is_floating_point() == kind] for kind in (True, False))
        self.buffers = _Pairs([a for a, _ in floats], [b for _, b in floats])
        self.counts = _Pairs([a for a, _ in whole], [b for _, b in whole])


def _twin(model: nn.Module) -> tuple[nn.Module, _Twins]:
    mine = copy.deepcopy(model).requires_grad_(False)
    return mine, _Twins(mine, model)
