"""The same learning rate all the time, after a warm-up if wanted (Goyal et al. 2017, arXiv 1706.02677)."""

from cnntrain.schedule.ramp import Clock, warm_up, warm_up_notes
from cnntrain.units import DurationOrZero, Fraction


class Constant:
    """The peak at every step after the warm-up."""

    def __init__(self, *, clock: Clock, lr: float, warmup: DurationOrZero = 0, warmup_from: Fraction = 0.1) -> None:
        self._lr, self._warmup, self._start = lr, clock.steps(warmup), warmup_from
        self.notes = warm_up_notes(self._warmup, clock.total)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        return {"lr": self._lr * warm_up(step, self._warmup, self._start)}
