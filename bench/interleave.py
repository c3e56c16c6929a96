"""Blocks of cnntrain's own steps and of the bare model's, in turn in one process: what disturbs one disturbs the other."""

import math
import time
from collections.abc import Callable, Sequence

from scipy import stats

from cnntrain.units import Count


class Interleaved:
    """A schedule, since that is what the loop calls once a step. ``bare`` is set by the benchmark before training starts.

    ``now`` is the clock at a block's border; on a GPU the benchmark sets one that waits for the device first.
    """

    bare: Callable[[int], float]
    times: list[tuple[float, float]]
    now: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(self, *, lr: float, block: Count = 20) -> None:
        self.lr, self.block, self.notes = lr, block, []
        self.started = 0.0
        self.seen = -1

    def __call__(self, step: int) -> dict[str, float]:
        """The learning rate; at the end of a block, its time is noted, and that of as many bare steps."""
        if step <= self.seen:  # the report asks for past steps, too
            return {"lr": self.lr}
        self.seen = step
        if step % self.block == 0:
            if step:
                own = type(self).now() - self.started
                type(self).times.append((own, type(self).bare(self.block)))
            self.started = type(self).now()
        return {"lr": self.lr}


def ratio(times: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Speed of cnntrain ÷ that of the bare model, from seconds of (cnntrain, bare) a block: lower end, middle and upper end.

    The middle is the geometric mean over the blocks, the interval Student's of 95 %, on the logarithm.
    """
    logs = [math.log(bare / own) for own, bare in times]
    mean = sum(logs) / len(logs)
    half = stats.t.ppf(0.975, len(logs) - 1) * math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1) / len(logs))
    return math.exp(mean - half), math.exp(mean), math.exp(mean + half)
