"""What every peer shares: the work it is given and the clock that measures it."""

import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.01, 0.9, 0.0005
WORKERS = 2  # processes that load data, where a peer has such
WARM_UP_SECONDS, WARM_UP_STEPS, LEAST_STEPS = 2.0, 3, 5


@dataclass(frozen=True)
class Work:
    """One training task: ``net`` on the pictures in ``folder``, as arrays or as JPEGs in a folder a class."""

    title: str
    net: str  # lenet5 or resnet20
    folder: str
    jpeg: bool
    augment: bool  # crop of the picture padded by 4 pixels, and mirror
    mean: list[float]
    std: list[float]
    cache: str  # cnntrain's decoded pictures

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and pixels a side."""
        return (1, 28) if self.net == "lenet5" else (3, 32)


def given() -> tuple[Work, float]:
    """The work and the seconds to measure, from the peer's command line."""
    return Work(**json.loads(Path(sys.argv[1]).read_text())), float(sys.argv[2])


class Window:
    """Counts steps after a warm-up, for some seconds and at least 5 steps. On a CPU a step is done when the call returns."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps, self.first, self.start, self.end = 0, 0.0, 0.0, 0.0

    def step(self) -> bool:
        """To be called after each optimizer step; true when it is enough."""
        self.end = time.perf_counter()
        self.first = self.first or self.end
        self.steps += 1
        if not self.start:
            if self.steps >= WARM_UP_STEPS and self.end - self.first >= WARM_UP_SECONDS:
                self.start, self.steps = self.end, 0
            return False
        return self.end - self.start >= self.seconds and self.steps >= LEAST_STEPS

    def tell(self, version: str) -> None:
        """Print the result."""
        tell(self.steps * BATCH / (self.end - self.start), self.steps, version)


def tell(images_per_second: float, steps: int, version: str) -> None:
    """Print the result as the last line: what the driver reads."""
    import torch

    facts = {"images_per_second": images_per_second, "steps": steps, "memory_mb": peak_memory_mb()}
    print("\n" + json.dumps(facts | {"threads": torch.get_num_threads(), "version": version}), flush=True)


def peak_memory_mb() -> float:
    """Most resident memory that this process (not its workers) has had, in 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss starts at what the parent had
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
