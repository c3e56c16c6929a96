"""Blocks of cnntrain's own steps and of the bare model's, in turn in one process: what disturbs one disturbs the other."""

import time
from collections.abc import Callable

from cnntrain.units import Count


class Interleaved:
    """A schedule, since that is what the loop calls once a step. ``bare`` is set by the benchmark before training starts."""

    bare: Callable[[int], float]
    times: list[tuple[float, float]]

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
                own = time.perf_counter() - self.started
                type(self).times.append((own, type(self).bare(self.block)))
            self.started = time.perf_counter()
        return {"lr": self.lr}
