import io
import re
import sys

import pytest

from cnntrain.data import progress as module
from cnntrain.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silent_while_it_is_short(monkeypatch, clock, stream):
    monkeypatch.setattr(sys, "stderr", out := stream())
    with progress("decoding", 3) as advance:
        clock[0] += 0.9
        advance(3)
    assert out.getvalue() == ""


def test_lines_without_a_terminal(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", out := io.StringIO())
    with progress("decoding train", 40_000) as advance:
        for _ in range(40):
            clock[0] += 0.5
            advance(1000)
    assert out.getvalue().splitlines() == [
        "decoding train: 2,000 of 40,000",
        "decoding train: 22,000 of 40,000",
        "decoding train: 40,000 of 40,000 in 20 s",
    ]


def test_what_has_no_known_end_and_what_is_broken_off(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", out := io.StringIO())
    with pytest.raises(ZeroDivisionError), progress("downloading", 9_000_000, in_bytes=True) as advance:
        clock[0] += 2
        advance(2_500_000)
        raise ZeroDivisionError
    with progress("scanning") as advance:
        clock[0] += 2
        advance(7)
    assert out.getvalue().splitlines() == ["downloading: 2 of 9 MB", "scanning: 7", "scanning: 7 in 2 s"]


@pytest.mark.parametrize(
    ("total", "in_bytes", "figures"), [(100_000, False, "50,000 of 100,000"), (None, False, "50,000"), (100_000, True, "kB")]
)
def test_a_bar_of_less_than_80_columns_in_a_terminal(monkeypatch, clock, capfd, total, in_bytes, figures):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with progress("decoding [train]", total, in_bytes=in_bytes) as advance:
        for _ in range(5):
            clock[0] += 0.5
            advance(10_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = re.split(r"[\r\n]+", shown)
    assert any("decoding [train]" in line and figures in line for line in lines), shown
    assert max(map(len, lines)) <= 80 and "…" not in shown
    assert capfd.readouterr().out == ""
