import math

import pytest
from pydantic import TypeAdapter, ValidationError

from cnntrain import units


@pytest.mark.parametrize(
    ("value", "expected"),
    [(4, (4, "ep")), (0.5, (0.5, "ep")), ("2000it", (2000, "it")), ("10%", (10, "%")), ("2.5 ep", (2.5, "ep")), (0, (0, "ep"))],
)
def test_durations_are_read(value, expected):
    assert units.parse_duration(value) == expected


@pytest.mark.parametrize("value", ["ten", "10", "", "-3it", "2.5it", "101%", -1, math.nan, math.inf, True, None, [3], "1e3it", "٣it "])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError):
        units.parse_duration(value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (units.Count, [1, 7], [0, -1, 1.5, True, "3", math.nan]),
        (units.Size, [0, 7], [-1, 0.5]),
        (units.Fraction, [0.0, 1.0, 0.3], [-0.1, 1.1, math.nan]),
        (units.Decay, [0.0, 0.999], [1.0, math.nan]),
        (units.Positive, [1e-9, 3.0], [0.0, math.inf, math.nan, -1.0]),
        (units.NonNegative, [0.0, 3.0], [math.inf, math.nan, -1e-9]),
        (units.Number, [-3.0, 0.0], [math.inf, math.nan]),
        (units.LearningRate, [0.1, "auto"], [0.0, "automatic", math.nan]),
        (units.Duration, [1, "3it", 0.5], [0, "0it", "x", math.nan]),
        (units.DurationOrZero, [0, "0%"], [-1, "x"]),
    ],
)
def test_ranges(kind, good, bad):
    adapter = TypeAdapter(kind)
    for value in good:
        assert adapter.validate_python(value, strict=True) == value
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)
