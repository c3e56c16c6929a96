"""A schedule that notes the time, since a schedule is what the loop calls once a step."""

import time

from cnntrain.units import Count


class Marked:
    """A constant learning rate; the first call of each block of steps notes the time in ``times``."""

    times: list[float]

    def __init__(self, *, lr: float, block: Count = 4) -> None:
        self.lr, self.block, self.notes = lr, block, []
        self.seen = -1

    def __call__(self, step: int) -> dict[str, float]:
        """The learning rate."""
        if step > self.seen and step % self.block == 0:
            type(self).times.append(time.perf_counter())
        self.seen = max(self.seen, step)  # the report asks for past steps, too
        return {"lr": self.lr}
