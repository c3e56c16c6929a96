"""Step decay: the learning rate is multiplied by ``gamma`` at given moments (Krizhevsky et al. 2012; He et al. 2016, arXiv 1512.03385).

The default drops to a tenth at 50 % and 75 % of the run, as He et al. trained ResNets on CIFAR-10 (32k and 48k of 64k
steps). Warm-up multiplies in and moves no drop (Goyal et al. 2017, arXiv 1706.02677).
"""

from bisect import bisect_right

from cnntrain.errors import ConfigError
from cnntrain.schedule.ramp import Clock, warm_up, warm_up_notes
from cnntrain.units import Duration, DurationOrZero, Fraction


class Step:
    """Drops by ``gamma`` either every so often (``every``) or at a list of moments (``milestones``).

    Raises:
        ConfigError: both of them are given, or neither.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        lr: float,
        gamma: Fraction = 0.1,
        every: Duration | None = None,
        milestones: list[Duration] | None = None,
        warmup: DurationOrZero = 0,
        warmup_from: Fraction = 0.1,
    ) -> None:
        if (every is None) == (milestones is None):
            given, fix = ("both are given", f"schedule.every={every} schedule.milestones=null")
            if every is None:
                given, fix = ("neither is given", "schedule.milestones=[50%,75%]")
            raise ConfigError(f"of every and milestones {given}", where="schedule", fix=fix)
        self._lr, self._gamma, self._start = lr, gamma, warmup_from
        self._every = None if every is None else max(1, clock.steps(every))
        self._milestones = sorted(clock.steps(milestone) for milestone in milestones or [])
        self._warmup = clock.steps(warmup)
        self.notes = warm_up_notes(self._warmup, clock.total)
        drops = self._drops(max(0, clock.total - 1))
        if self._every and not drops:
            self.notes.append(f"the learning rate never drops: every={every} is {self._every} steps, the run has {clock.total}")
        elif drops < len(self._milestones):
            missed = ", ".join(str(moment) for moment in self._milestones[drops:])
            self.notes.append(f"milestones at step {missed} are not reached: the run has {clock.total} steps")

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate of one step."""
        return {"lr": self._lr * warm_up(step, self._warmup, self._start) * self._gamma ** self._drops(step)}

    def _drops(self, step: int) -> int:
        """How often the learning rate has been multiplied by gamma."""
        return step // self._every if self._every else bisect_right(self._milestones, step)
