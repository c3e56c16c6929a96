"""From rounds of measurements to the table's figures. Plain numbers, no torch."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some rounds, the least and the most."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """Of the rounds that gave a figure; None if none did."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def ratio(own: Sequence[float | None], peer: Sequence[float | None]) -> Spread | None:
    """``own`` ÷ ``peer`` of each round, so that what disturbs a round disturbs both; rounds without one of them are left out.

    The median of the ratios is not the ratio of the medians.
    """
    return spread([a / b if a is not None and b is not None else None for a, b in zip(own, peer, strict=True)])
