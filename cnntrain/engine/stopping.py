"""When to stop before the end, and which evaluation was the best."""

import math

from cnntrain.units import Count, NonNegative


class Judge:
    """Keeps the best evaluation and counts those since.

    Of equal values the one with the lower loss is best (an accuracy over few samples is often equal, and then says nothing more), of
    equals in both the earliest; NaN never is.

    ``patience`` evaluations without a gain of more than ``min_delta`` end the run; None never does.
    """

    def __init__(self, *, larger_is_better: bool, patience: int | None, min_delta: float) -> None:
        self.sign = 1.0 if larger_is_better else -1.0
        self.patience, self.min_delta = patience, min_delta
        self.best: float | None = None
        self.best_loss = math.inf
        self.best_step = 0
        self.waited = 0
        self._bar = -math.inf
        self._before: tuple[float | None, int, float] = (None, 0, math.inf)

    def see(self, value: float, step: int, *, loss: float = math.inf) -> bool:
        """Take in the evaluation after ``step`` steps; True if it is the best so far."""
        score = self.sign * value
        if score > self._bar + self.min_delta:
            self._bar, self.waited = score, 0
        else:
            self.waited += 1
        if math.isnan(score):
            return False
        if self.best is not None and (score < self.sign * self.best or (value == self.best and not loss < self.best_loss)):
            return False
        self._before = self.best, self.best_step, self.best_loss
        self.best, self.best_step, self.best_loss = value, step, loss
        return True

    def forget(self) -> None:
        """Take back the last best, whose weights could not be saved."""
        self.best, self.best_step, self.best_loss = self._before

    def now(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        bar, loss = (None if math.isinf(number) else number for number in (self._bar, self.best_loss))
        return {"best": self.best, "best_step": self.best_step, "best_loss": loss, "waited": self.waited, "bar": bar}

    def restore(self, state: dict[str, float | int | None]) -> None:
        """Take back what :meth:`state` gave."""
        self.best, self.best_step, self.waited = state["best"], int(state["best_step"] or 0), int(state["waited"] or 0)
        self._bar = -math.inf if state["bar"] is None else float(state["bar"])
        self.best_loss = math.inf if state["best_loss"] is None else float(state["best_loss"])


def stopping(*, larger_is_better: bool, patience: Count | None = None, min_delta: NonNegative = 0.0) -> Judge:
    """Early stopping after ``patience`` evaluations without a gain; ``patience: null`` is off."""
    return Judge(larger_is_better=larger_is_better, patience=patience, min_delta=min_delta)
