"""Warm restarts (Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv 1608.03983).

Half a cosine from the peak to ``base`` (equation 5: base + (peak - base) / 2 * (1 + cos(pi T_cur / T_i))), then again from the peak,
every cycle ``growth`` times as long as the one before (the paper's T_mult). T_cur counts steps, as in the paper's footnote on batches.
"""

from cnntrain.schedule.ramp import Clock, cosine, cycle_notes, cycle_steps, warm_up, warm_up_notes
from cnntrain.units import Count, Duration, DurationOrZero, Fraction


class Sgdr:
    """Cosine annealing with warm restarts; a warm-up goes before the first cycle and does not shorten it."""

    def __init__(
        self,
        *,
        clock: Clock,
        lr: float,
        cycle: Duration = "14.29%",
        growth: Count = 2,
        base: Fraction = 0.0,
        warmup: DurationOrZero = 0,
        warmup_from: Fraction = 0.1,
    ) -> None:
        self._lr, self._base, self._growth, self._start = lr, base, growth, warmup_from
        self._cycle, self._warmup = cycle_steps(cycle, clock), clock.steps(warmup)
        self.notes = warm_up_notes(self._warmup, clock.total)
        if clock.total > self._warmup:
            steps = clock.total - self._warmup
            into, length = self._position(steps)
            last = self(clock.total - 1)["lr"]
            self.notes += cycle_notes(steps, into=into, cycle=length, last=last, floor=lr * base, peak=lr)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        if step < self._warmup:
            return {"lr": self._lr * warm_up(step, self._warmup, self._start)}
        into, length = self._position(step - self._warmup)
        return {"lr": self._lr * cosine(1.0, self._base, into / length)}

    def _position(self, step: int) -> tuple[int, int]:
        """T_cur and T_i in steps, in whole numbers: a logarithm would land in the wrong cycle at some restarts."""
        length = self._cycle
        if self._growth == 1:
            return step % length, length
        while step >= length:
            step, length = step - length, length * self._growth
        return step, length
