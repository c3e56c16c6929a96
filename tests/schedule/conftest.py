"""A clock for schedules, without the engine."""

from collections.abc import Callable

import pytest

from cnntrain.units import parse_duration


class FakeClock:
    """A run of ``total`` steps, ``steps_per_epoch`` of them an epoch."""

    def __init__(self, total: int, steps_per_epoch: int = 10) -> None:
        self.total, self.steps_per_epoch = total, steps_per_epoch

    def steps(self, duration: float | str) -> int:
        """A duration in optimizer steps."""
        number, unit = parse_duration(duration)
        return round(number * {"ep": self.steps_per_epoch, "it": 1, "%": self.total / 100}[unit])


@pytest.fixture(scope="session")
def clock() -> Callable[..., FakeClock]:
    """Makes a clock: ``clock(total, steps_per_epoch=10)``."""
    return FakeClock
