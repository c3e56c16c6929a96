"""Cyclical learning rates (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186).

The learning rate rises and falls on straight lines between ``base`` and the peak. With stepsize s, at iteration ``it``:

    cycle = floor(1 + it / (2 s));  x = |it / s - 2 cycle + 1|;  lr = base + (peak - base) * max(0, 1 - x) * scale

where scale is 1 (triangular), 1 / 2^(cycle-1) (triangular2) or gamma^it (exp_range). **The key ``cycle`` is the whole cycle,
2 s**; the paper's stepsize is half of it and advised to be 2 to 10 epochs, so a ``cycle`` of 4 to 20. An odd number of steps
gives a fractional s, to which the formula applies as it stands.

In the paper exp_range shrinks both bounds by gamma^it; torch's CyclicLR shrinks the amplitude above a base that stays.
``bounds`` chooses. Momentum against the learning rate is not in this paper: it is from Smith 2018 (arXiv 1803.09820, section 4.3),
and, as in torch, its swing shrinks as that of the learning rate does.

A cycle begins at its lowest learning rate, so there is no separate warm-up.
"""

from typing import Literal

from cnntrain.errors import ConfigError
from cnntrain.schedule.ramp import Clock, cycle_notes, cycle_steps, linear, momentum_bounds
from cnntrain.units import Decay, Duration, Fraction


class Triangular:
    """Triangles of the same height (policy "triangular")."""

    def __init__(
        self, *, clock: Clock, lr: float, base: Fraction = 0.01, cycle: Duration = "100%", momentum: tuple[Decay, Decay] | None = None
    ) -> None:
        self._triangles = _Triangles(clock, lr, base, cycle, momentum)
        self.notes = self._triangles.notes(self)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate (and momentum) of one step."""
        return self._triangles.values(step, scale=1.0)


class Triangular2:
    """Triangles whose height above the base halves with every cycle (policy "triangular2")."""

    def __init__(
        self, *, clock: Clock, lr: float, base: Fraction = 0.04, cycle: Duration = "25%", momentum: tuple[Decay, Decay] | None = None
    ) -> None:
        self._triangles = _Triangles(clock, lr, base, cycle, momentum)
        self.notes = self._triangles.notes(self)

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate (and momentum) of one step."""
        return self._triangles.values(step, scale=0.5 ** (step // self._triangles.cycle))


class ExpRange:
    """Triangles that shrink by ``gamma`` with every step (policy "exp_range").

    ``gamma``: the factor of one step, or "auto": what leaves a tenth at the end of the run. ``bounds``: "both" lets both bounds shrink
    (the paper), "amplitude" only the height above the base (torch's CyclicLR).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        lr: float,
        base: Fraction = 0.04,
        cycle: Duration = "25%",
        gamma: Fraction | Literal["auto"] = "auto",
        bounds: Literal["both", "amplitude"] = "both",
        momentum: tuple[Decay, Decay] | None = None,
    ) -> None:
        if gamma == 0:
            raise ConfigError("gamma 0 leaves nothing after the first step", where="schedule.gamma", fix="schedule.gamma=auto")
        self._gamma = 0.1 ** (1 / max(1, clock.total)) if gamma == "auto" else gamma
        self._bounds = bounds
        self._triangles = _Triangles(clock, lr, base, cycle, momentum)
        self.notes = self._triangles.notes(self)
        if gamma == "auto":
            self.notes.append(f"gamma=auto is {self._gamma:.6g} a step: a tenth is left at the end of the run")

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate (and momentum) of one step."""
        scale = self._gamma**step
        return self._triangles.values(step, scale=scale, floor=scale if self._bounds == "both" else 1.0)


class _Triangles:
    """The triangle wave that the three policies scale."""

    def __init__(self, clock: Clock, lr: float, base: float, cycle: float | str, momentum: tuple[float, float] | None) -> None:
        self.cycle = cycle_steps(cycle, clock)
        self._total, self._lr, self._base, self._momentum = clock.total, lr, base, momentum_bounds(momentum)

    def values(self, step: int, *, scale: float, floor: float = 1.0) -> dict[str, float]:
        """The values of one step: the height above the base times ``scale``, the base itself times ``floor``."""
        # With p the position in the cycle, 0 <= p < 1, Smith's max(0, 1 - x) is 1 - |2p - 1|; the remainder of
        # whole numbers keeps it exact in the millionth step.
        height = 1 - abs(2 * (step % self.cycle) / self.cycle - 1)
        values = {"lr": self._lr * linear(self._base * floor, self._base * floor + (1 - self._base) * scale, height)}
        if self._momentum:
            low, high = self._momentum
            values["momentum"] = high - (high - low) * height * scale
        return values

    def notes(self, schedule: Triangular | Triangular2 | ExpRange) -> list[str]:
        """What the user should be told about the run's end."""
        if self.cycle < 4:
            return [f"a cycle of {self.cycle} steps is too short to rise and fall: give a longer schedule.cycle or a longer run"]
        last, ahead = schedule(max(0, self._total - 1))["lr"], schedule(-(-self._total // self.cycle) * self.cycle)["lr"]
        return cycle_notes(self._total, into=self._total % self.cycle, cycle=self.cycle, last=last, floor=ahead, peak=self._lr)
