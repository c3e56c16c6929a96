"""A curve in plain text: eight dots a character (braille) where the terminal's encoding has them, one character a point where not."""

import math
import sys
from collections.abc import Sequence

# The dots of a braille character, by row (4) and column (2): U+2800 plus the sum of those that are set.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def draw_curve(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    width: int = 80,
    height: int = 12,
    log_x: bool = False,
    title: str = "",
    x_label: str = "",
    marks: Sequence[tuple[float, str]] = (),
    unicode: bool | None = None,
) -> str:
    """The curve y(x) with its axes, ``width`` columns wide and ``height`` rows high (axis and labels come on top of that).

    ``marks`` are (x, words): a letter on the axis and a dotted line above it, explained below. Points that are not finite are left
    out, and the line is broken there. ``unicode=None`` asks the encoding of stdout.
    """
    fancy = _is_unicode() if unicode is None else unicode
    points = [(math.log10(x) if log_x else x, y) if _drawable(x, y, log_x) else None for x, y in zip(xs, ys, strict=True)]
    known = [point for point in points if point]
    if not known:
        return f"{title}\n(nothing to draw)".strip()
    places = [math.log10(x) if log_x else x for x in xs if _drawable(x, 0, log_x)]
    left, right = _bounds(places)  # of gaps, too
    bottom, top = _bounds([y for _, y in known])
    rows = _tick_rows(bottom, top, height)
    margin = max(len(label) for label in rows.values())
    columns = max(width - margin - 2, 10)
    grid = _Grid(columns, height, (left, right), (bottom, top), dots=(2, 4) if fancy else (1, 1))
    placed = [(math.log10(x) if log_x else x, words) for x, words in marks if not log_x or x > 0]
    placed = [(x, words) for x, words in placed if left <= x <= right]
    at: dict[int, str] = {}
    for i, (x, _) in enumerate(placed):
        free = [column for column in range(grid.column(x), columns) if column not in at]
        at[free[0] if free else grid.column(x)] = _LETTERS[i % 26]
    grid.line(points)
    bar, corner, dash, tick = "┤└─┬" if fancy else "|+-+"
    lines = [f"{'':{margin}}  {title}".rstrip()] if title else []
    for row in range(height):
        edge = (bar if row in rows else "│") if fancy else bar
        lines.append(f"{rows.get(row, ''):>{margin}} {edge}{grid.row(row, at, fancy)}".rstrip())
    lines += _axis(grid, at, margin, (corner, dash, tick), log_x)
    lines += [" " * (margin + 2) + x_label.center(columns).rstrip()] if x_label else []
    return "\n".join(lines + _legend(placed, width, margin))


class _Grid:
    """The field that is drawn on: ``columns`` by ``height`` characters of so many dots each."""

    def __init__(self, columns: int, height: int, x: tuple[float, float], y: tuple[float, float], *, dots: tuple[int, int]) -> None:
        self.columns, self.height, self.x, self.y, self.dots = columns, height, x, y, dots
        self.set: set[tuple[int, int]] = set()

    def column(self, x: float) -> int:
        """The character's column of an x."""
        share = min(max((x - self.x[0]) / (self.x[1] - self.x[0]), 0), 1)
        return round(share * (self.columns * self.dots[0] - 1)) // self.dots[0]

    def line(self, points: Sequence[tuple[float, float] | None]) -> None:
        """Set the dots of straight lines from point to point."""
        wide, high = self.columns * self.dots[0] - 1, self.height * self.dots[1] - 1
        before: tuple[float, float] | None = None
        for point in points:
            if point is None:
                before = None
                continue
            here = (point[0] - self.x[0]) / (self.x[1] - self.x[0]) * wide, (self.y[1] - point[1]) / (self.y[1] - self.y[0]) * high
            start = before or here
            steps = max(1, math.ceil(max(abs(here[0] - start[0]), abs(here[1] - start[1]))))
            for step in range(steps + 1):
                self.set.add((round(start[0] + (here[0] - start[0]) * step / steps), round(start[1] + (here[1] - start[1]) * step / steps)))
            before = here

    def row(self, row: int, marks: dict[int, str], fancy: bool) -> str:
        """One row of characters: the curve before the marks' dotted lines."""
        text = ""
        for column in range(self.columns):
            cell = [
                _DOTS[down][across]
                for down in range(self.dots[1])
                for across in range(self.dots[0])
                if (column * self.dots[0] + across, row * self.dots[1] + down) in self.set
            ]
            if cell:
                text += chr(0x2800 + sum(cell)) if fancy else "*"
            else:
                text += ("┊" if fancy else ":") if column in marks else " "
        return text


def _axis(grid: _Grid, marks: dict[int, str], margin: int, signs: tuple[str, str, str], log_x: bool) -> list[str]:
    """The axis with the marks' letters on it, and the numbers below."""
    corner, dash, tick = signs
    line, below = [dash] * grid.columns, [" "] * (grid.columns + 8)
    last = -2
    for value in _ticks(*grid.x, max(grid.columns // 12, 2), whole=log_x):
        label = _powered(value) if log_x else _short(value)
        start = min(max(grid.column(value) - len(label) // 2, 0), grid.columns - len(label))
        if start > last + 1:
            line[grid.column(value)] = tick
            below[start : start + len(label)] = label
            last = start + len(label) - 1
    for column, letter in marks.items():
        line[column] = letter
    return [" " * (margin + 1) + corner + "".join(line), " " * (margin + 2) + "".join(below).rstrip()]


def _legend(marks: Sequence[tuple[float, str]], width: int, margin: int) -> list[str]:
    """What the letters mean, as many on a line as fit."""
    lines: list[str] = []
    for i, (_, words) in enumerate(marks):
        entry = f"{_LETTERS[i % 26]} {words}"
        if lines and len(lines[-1]) + len(entry) + 3 <= width:
            lines[-1] += f"   {entry}"
        else:
            lines.append(" " * (margin + 2) + entry)
    return lines


def _tick_rows(bottom: float, top: float, height: int) -> dict[int, str]:
    """The labels of the y axis by their row."""
    ticks = _ticks(bottom, top, max(height // 3, 2))
    rows = {round(min(max((top - value) / (top - bottom), 0), 1) * (height - 1)): _short(value) for value in ticks}
    return rows or {0: _short(top), height - 1: _short(bottom)}


def _ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """About ``count`` round numbers from low to high (1, 2 or 5 times a power of ten apart); whole ones for powers of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.6 * rough)
    if whole:
        if high - low < 1:  # less than a decade: its ends
            return [low, high]
        step = max(1, round(step))
    # A number that misses the end by a hair (the last step of 20 epochs is 19.99) is still told there.
    first = math.ceil(low / step - 0.05)
    return [i * step for i in range(first, math.floor(high / step + 0.05) + 1)]


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The range of values, widened where all are the same."""
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return (low - 0.5 * abs(low), high + 0.5 * abs(high)) if low else (-1.0, 1.0)
    return low, high


def _short(value: float) -> str:
    """A number in few characters: 0.05, 12, 3.2k, 1e-05."""
    if abs(value) >= 10_000:
        return f"{value / 1e6:.4g}M" if abs(value) >= 1e6 else f"{value / 1e3:.4g}k"
    return "0" if abs(value) < 1e-15 else f"{value:.4g}"


def _powered(exponent: float) -> str:
    """A power of ten: 1e-6, 0.01, 10."""
    value = 10**exponent
    return f"{value:.3g}" if 1e-3 <= value < 1e4 else f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")


def _drawable(x: float, y: float, log_x: bool) -> bool:
    return math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x)


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
