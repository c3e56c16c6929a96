"""What several schedules share: ways from one value to another, warm-up, cycles in whole steps, and their checks."""

import math
from collections.abc import Callable
from typing import Protocol

from cnntrain.errors import ConfigError
from cnntrain.units import parse_duration


class Clock(Protocol):
    """What a schedule asks of the run's clock."""

    @property
    def total(self) -> int:
        """Optimizer steps of the whole run."""

    def steps(self, duration: float | str) -> int:
        """A duration in optimizer steps."""


def linear(start: float, end: float, share: float) -> float:
    """The straight way from ``start`` (share 0) to ``end`` (share 1)."""
    return start * (1 - share) + end * share


def cosine(start: float, end: float, share: float) -> float:
    """Half a cosine wave from ``start`` (share 0) to ``end`` (share 1), flat at both."""
    return linear(end, start, (1 + math.cos(math.pi * share)) / 2)


def warm_up(step: int, steps: int, start: float) -> float:
    """Factor of a linear warm-up from ``start`` at step 0 to 1 at ``steps`` (Goyal et al. 2017, arXiv 1706.02677, section 2.2)."""
    return 1.0 if step >= steps else linear(start, 1.0, step / steps)


def warm_up_notes(steps: int, total: int) -> list[str]:
    """Says so when the warm-up takes the whole run."""
    return [f"the warm-up ({steps} steps) takes the whole run ({total} steps)"] if steps and steps >= total else []


def cycle_steps(cycle: float | str, clock: Clock) -> int:
    """The whole cycle in steps, at least 1.

    A share of the run is rounded up, not to the nearest step: four cycles of 25 % must not end a step or two before the
    run does, because SGDR would then restart at the peak for the last steps.
    """
    number, unit = parse_duration(cycle)
    steps = math.ceil(clock.total * number / 100 - 1e-9) if unit == "%" else clock.steps(cycle)
    return max(1, steps)


def cycle_notes(total: int, *, into: int, cycle: int, last: float, floor: float, peak: float) -> list[str]:
    """Says so when the run ends off the end of a cycle and that shows: its last learning rate is over 5 % of the peak too high.

    ``into``: steps of the run's last, unfinished cycle (0 when it ends with one); ``cycle``: that cycle's full length; ``last``
    and ``floor``: the learning rate of the run's last step and the one that a cycle ends at.
    """
    if into in (0, cycle - 1) or last - floor <= 0.05 * peak:
        return []
    where = f"is shorter than one cycle ({cycle})" if into == total else f"ends {into} steps into a cycle of {cycle}"
    return [f"the run ({total} steps) {where}: its last learning rate is {last:.3g}, while a cycle ends at {floor:.3g}"]


def momentum_bounds(momentum: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pair (low, high) as given, or None.

    Raises:
        ConfigError: low is above high.
    """
    if momentum is None:
        return None
    low, high = momentum
    if low > high:
        raise ConfigError(
            f"momentum [{low}, {high}] has its higher bound first", where="schedule.momentum", fix=f"schedule.momentum=[{high},{low}]"
        )
    return low, high


class Annealing:
    """From the peak by one ``way`` to ``final``, reached one step after the last and kept from there; before it a linear warm-up."""

    def __init__(
        self,
        way: Callable[[float, float, float], float],
        *,
        clock: Clock,
        lr: float,
        final: float,
        warmup: float | str,
        warmup_from: float,
    ) -> None:
        self._way, self._lr, self._final, self._start = way, lr, final, warmup_from
        self._warmup = clock.steps(warmup)
        self._length = max(1, clock.total - self._warmup)
        self.notes = warm_up_notes(self._warmup, clock.total)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        if step < self._warmup:
            return {"lr": self._lr * warm_up(step, self._warmup, self._start)}
        return {"lr": self._lr * self._way(1.0, self._final, min(1.0, (step - self._warmup) / self._length))}
