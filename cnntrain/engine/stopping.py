"""When to stop before the end, and which evaluation was the best."""

import math

from cnntrain.units import Count, NonNegative


class Judge:
    """Keeps the best evaluation and counts those since (the earliest of equals is best; NaN never is).

    ``patience`` evaluations without a gain of more than ``min_delta`` end the run; None never does.
    """

    def __init__(self, *, larger_is_better: bool, patience: int | None, min_delta: float) -> None:
        self.sign = 1.0 if larger_is_better else -1.0
        self.patience, self.min_delta = patience, min_delta
        self.best: float | None = None
        self.best_step = 0
        self.waited = 0
        self._bar = -math.inf

    def see(self, value: float, step: int) -> bool:
        """Take in the evaluation after ``step`` steps; True if it is the best so far."""
        score = self.sign * value
        if score > self._bar + self.min_delta:
            self._bar, self.waited = score, 0
        else:
            self.waited += 1
        if math.isnan(score) or (self.best is not None and score <= self.sign * self.best):
            return False
        self.best, self.best_step = value, step
        return True

    def now(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        bar = None if math.isinf(self._bar) else self._bar
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited, "bar": bar}

    def restore(self, state: dict[str, float | int | None]) -> None:
        """Take back what :meth:`state` gave."""
        self.best, self.best_step, self.waited = state["best"], int(state["best_step"] or 0), int(state["waited"] or 0)
        self._bar = -math.inf if state["bar"] is None else float(state["bar"])


def stopping(*, larger_is_better: bool, patience: Count | None = None, min_delta: NonNegative = 0.0) -> Judge:
    """Early stopping after ``patience`` evaluations without a gain; ``patience: null`` is off."""
    return Judge(larger_is_better=larger_is_better, patience=patience, min_delta=min_delta)
