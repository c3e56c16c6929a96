"""How far something long has come, on stderr: a bar in a terminal, a line now and then elsewhere; silent while it is short."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 1.0  # seconds after which something is shown
PAUSE = 0.2, 10.0  # seconds between two movements of a bar, and between two lines


@contextmanager
def progress(text: str, total: int | None = None, *, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show ``text`` and how much is done, of ``total`` if that is known, while the block runs; it is given a function to advance by."""
    shown = _Shown(text, total, in_bytes, live=sys.stderr.isatty())
    try:
        yield shown.advance
    finally:
        shown.end()


class _Shown:
    """Nothing at first; after a second, a bar or lines. No thread refreshes it: that would take time from what is waited for."""

    def __init__(self, text: str, total: int | None, in_bytes: bool, *, live: bool) -> None:
        self.text, self.total, self.in_bytes, self.live = text, total, in_bytes, live
        self.done, self.started = 0, time.monotonic()
        self.due = self.started + PATIENCE
        self.bar = None

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self.done += amount
        if (now := time.monotonic()) >= self.due:
            self.due = now + PAUSE[not self.live]
            self._move() if self.live else self._line()

    def end(self) -> None:
        """Take the bar away; lines, if all is done, end with how long it took."""
        if self.bar is not None:
            self.bar.stop()
        elif self.due > self.started + PATIENCE and self.done >= (self.total or 0):
            self._line(f" in {time.monotonic() - self.started:.0f} s")

    def _line(self, more: str = "") -> None:
        unit, divisor = (" MB", 1_000_000) if self.in_bytes else ("", 1)
        whole = f" of {self.total // divisor:,}" if self.total else ""
        print(f"{self.text}: {self.done // divisor:,}{whole}{unit}{more}", file=sys.stderr, flush=True)

    def _move(self) -> None:
        if self.bar is None:
            self.bar, self.task = _bar(self.text, self.total, self.in_bytes)
        self.bar.update(self.task, completed=self.done, refresh=True)


def _bar(text: str, total: int | None, in_bytes: bool):
    """A started bar of rich's and its task."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    count = TextColumn("{task.completed:,.0f}" + (" of {task.total:,.0f}" if total else ""))
    amount = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (count,)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), *amount, TimeRemainingColumn())

    class Bare(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # it is never hidden: a process that is killed could not show it again

    bar = Progress(*columns, console=Bare(stderr=True), transient=True, auto_refresh=False)
    bar.start()
    return bar, bar.add_task(text, total=total)
