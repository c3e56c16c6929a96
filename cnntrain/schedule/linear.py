"""Linear decay: a straight way down from the peak, with a straight way up to it if there is a warm-up.

Defazio et al. 2023, "Optimal Linear Decay Learning Rate Schedules and Further Refinements", arXiv 2310.07831. With a warm-up of a fifth
of the run it is the triangle of the CIFAR-10 speed runs (Jordan 2024, arXiv 2404.00498: up from 0.2 in 23 % of the run, down to 0.07).
"""

from cnntrain.schedule.ramp import Clock, linear, warm_up, warm_up_notes
from cnntrain.units import DurationOrZero, Fraction


class Linear:
    """From the peak in a straight line to ``final``, which is reached one step after the last and kept from there."""

    def __init__(self, *, clock: Clock, lr: float, final: Fraction = 0.0, warmup: DurationOrZero = 0, warmup_from: Fraction = 0.1) -> None:
        self._lr, self._final, self._start = lr, final, warmup_from
        self._warmup = clock.steps(warmup)
        self._length = max(1, clock.total - self._warmup)
        self.notes = warm_up_notes(self._warmup, clock.total)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        if step < self._warmup:
            return {"lr": self._lr * warm_up(step, self._warmup, self._start)}
        return {"lr": self._lr * linear(1.0, self._final, min(1.0, (step - self._warmup) / self._length))}
