"""The kinds of value that a config key can have, each with its range in words.

A signature says ``drop: Fraction = 0.0``; the config check reads that, and no other place repeats the range.
The last string of each alias is what an error message and ``--help`` call the value.
"""

import math
import re
from typing import Annotated, Literal

from annotated_types import Interval, Predicate

BEYOND = 2**63  # what no tensor, seed or counter can hold
Count = Annotated[int, Interval(ge=1, lt=BEYOND), "a whole number, 1 or more"]
Size = Annotated[int, Interval(ge=0, lt=BEYOND), "a whole number, 0 or more"]
Threads = Annotated[int, Interval(ge=1, le=1024), "a whole number from 1 to 1024"]  # with 100,000 OpenMP ends the process without a word
Processes = Annotated[int, Interval(ge=0, le=1024), "a whole number from 0 to 1024"]
Fraction = Annotated[float, Interval(ge=0, le=1), "a number from 0 to 1"]
Decay = Annotated[float, Interval(ge=0, lt=1), "a number from 0 to below 1"]
Positive = Annotated[float, Interval(gt=0, lt=math.inf), "a number above 0"]
NonNegative = Annotated[float, Interval(ge=0, lt=math.inf), "a number, 0 or more"]
Number = Annotated[float, Interval(gt=-math.inf, lt=math.inf), "a finite number"]
Seconds = Annotated[float, Interval(gt=0, lt=math.inf), "a number of seconds above 0"]
LearningRate = Annotated[Positive | Literal["auto"], "a number above 0, or auto"]

_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(?P<unit>ep|it|%)")


def parse_duration(value: float | str) -> tuple[float, str]:
    """Split a duration into its number and unit: ``"ep"`` epochs, ``"it"`` optimizer steps, ``"%"`` of the run.

    A bare number is epochs. Raises ValueError if it is none of these, or is negative or not finite.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is not a duration")
        number, unit = float(match["number"]), match["unit"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number, unit = float(value), "ep"
    else:
        raise ValueError(f"{value!r} is not a duration")
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{value!r} is not a duration")
    if unit == "it" and number != int(number):
        raise ValueError(f"{value!r}: steps are whole numbers")
    if unit == "%" and number > 100:
        raise ValueError(f"{value!r} is more than the whole run")
    return number, unit


def _is_duration(value: float | str) -> bool:
    try:
        parse_duration(value)
    except ValueError:
        return False
    return True


def _is_positive_duration(value: float | str) -> bool:
    return _is_duration(value) and parse_duration(value)[0] > 0


Duration = Annotated[
    float | str, Predicate(_is_positive_duration), 'a duration above 0: epochs (4), steps ("2000it") or a share of the run ("10%")'
]
DurationOrZero = Annotated[float | str, Predicate(_is_duration), 'a duration: epochs (4), steps ("2000it") or a share of the run ("10%")']
