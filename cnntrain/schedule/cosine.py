"""Cosine annealing over the whole run (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5 with one cycle).

With warm-up, the cosine covers the steps after it (He et al. 2019, "Bag of Tricks", arXiv 1812.01187, section 5.1).
"""

from cnntrain.schedule.ramp import Clock, cosine, warm_up, warm_up_notes
from cnntrain.units import DurationOrZero, Fraction


class Cosine:
    """Half a cosine from the peak to ``final``, which is reached one step after the last and kept from there."""

    def __init__(self, *, clock: Clock, lr: float, final: Fraction = 0.0, warmup: DurationOrZero = 0, warmup_from: Fraction = 0.1) -> None:
        self._lr, self._final, self._start = lr, final, warmup_from
        self._warmup = clock.steps(warmup)
        self._length = max(1, clock.total - self._warmup)
        self.notes = warm_up_notes(self._warmup, clock.total)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        if step < self._warmup:
            return {"lr": self._lr * warm_up(step, self._warmup, self._start)}
        return {"lr": self._lr * cosine(1.0, self._final, min(1.0, (step - self._warmup) / self._length))}
