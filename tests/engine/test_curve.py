"""The text plot: it says where the curve is, fits the width, and keeps to ASCII where it must."""

import io
import math

import pytest

from cnntrain.engine.curve import draw_curve


def rows(text):
    return [line for line in text.splitlines() if "┤" in line or "│" in line]


def body(line):
    return line.split("┤" if "┤" in line else "│", 1)[1]


def test_a_rising_line_goes_from_bottom_left_to_top_right():
    lines = [body(line) for line in rows(draw_curve(range(50), range(50), width=40, height=8, unicode=True))]
    starts = [len(line) - len(line.lstrip()) for line in lines]
    assert len(lines) == 8
    assert starts == sorted(starts, reverse=True) and starts[-1] == 0


def test_axis_numbers_stand_where_they_belong():
    text = draw_curve([0, 100], [0, 1], width=60, height=11, x_label="step", unicode=True)
    labelled = {float(line.split("┤")[0]): i for i, line in enumerate(text.splitlines()) if "┤" in line}
    assert labelled[1.0] == 0 and labelled[0.0] == 10
    assert all(abs(row - 10 * (1 - value)) <= 0.5 for value, row in labelled.items())
    axis, numbers, label = text.splitlines()[-3:]
    assert label.strip() == "step"
    for number in ("0", "20", "40", "60", "80", "100"):
        start = numbers.find(f" {number}" if number != "100" else "100") + (number != "100")
        ticks = [column for column in range(start - 1, start + len(number) + 1) if column < len(axis) and axis[column] == "┬"]
        assert ticks, number


def test_log_axis_spaces_decades_evenly():
    xs = [10**e for e in (-4, -3, -2, -1, 0)]
    text = draw_curve(xs, [1, 2, 3, 4, 5], width=70, log_x=True, unicode=True)
    columns = [i for i, sign in enumerate(text.splitlines()[-2]) if sign == "┬"]
    gaps = {b - a for a, b in zip(columns, columns[1:], strict=False)}
    assert len(columns) == 5 and max(gaps) - min(gaps) <= 1
    assert text.splitlines()[-1].split() == ["1e-4", "0.001", "0.01", "0.1", "1"]


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_width(width, unicode):
    ys = [math.sin(x / 7) * 12345 for x in range(300)]
    marks = [(50.0, "first"), (50.0, "second at the same place"), (299.0, "last")]
    text = draw_curve(range(300), ys, width=width, marks=marks, title="wave", x_label="x", unicode=unicode)
    assert max(len(line) for line in text.splitlines()) <= width


def test_marks_are_lettered_and_explained():
    text = draw_curve(
        [1, 10, 100], [3, 2, 1], log_x=True, marks=[(10, "here"), (10, "and here"), (1e6, "outside"), (-1, "nowhere")], unicode=False
    )
    axis = next(line for line in text.splitlines() if line.strip().startswith("+"))
    assert axis.index("b") == axis.index("a") + 1
    assert "a here   b and here" in text and "outside" not in text and "nowhere" not in text
    assert abs((axis.index("a") - axis.index("+")) - (len(axis) - axis.index("+")) / 2) <= 2


def test_ascii_where_the_terminal_has_no_more(monkeypatch):
    class Latin(io.StringIO):
        encoding = "latin-1"

    monkeypatch.setattr("sys.stdout", Latin())
    assert draw_curve(range(9), range(9), title="t", x_label="x", marks=[(3, "m")]).isascii()


def test_unicode_is_asked_of_stdout(monkeypatch):
    class Utf(io.StringIO):
        encoding = "UTF-8"

    monkeypatch.setattr("sys.stdout", Utf())
    assert not draw_curve(range(9), range(9)).isascii()


def test_a_gap_breaks_the_line_and_nothing_is_said_of_nothing():
    text = draw_curve(range(35), [1.0] * 10 + [math.nan] * 10 + [1.0] * 10 + [math.nan] * 5, width=36, height=5, unicode=False)
    line = next(line for line in text.splitlines() if "*" in line)
    assert "*   " in line.strip() and line.rstrip().endswith("*") and len(line.rstrip()) < 34
    assert "nothing to draw" in draw_curve([1, 2], [math.inf, math.nan], title="t")
    assert "nothing to draw" in draw_curve([0.0, -1.0], [1, 2], log_x=True)


@pytest.mark.parametrize("value", [0.0, 0.1, -5.0, 1e-30])
def test_constant_curves_and_single_points_are_drawn(value):
    assert "*" in draw_curve(range(10), [value] * 10, unicode=False)
    assert "*" in draw_curve([3.0], [value], unicode=False)
