"""Signals end a run at a step's end, after its state is saved; a second one ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from cnntrain.engine.run import Run
from cnntrain.errors import Interrupted

T = TypeVar("T")


class _Break(BaseException):
    """Ends work that changes nothing."""


class _Stop(BaseException):
    """Ends the run at once: no Exception, so that nothing on the way takes it for a broken picture or model."""


class Signals:
    """Takes SIGINT, SIGTERM, SIGHUP (leave) and SIGUSR1 (save and go on) over while it is entered.

    While :meth:`holding`, a signal is noted, for the loop to save and then :meth:`leave`; before and after there is nothing to save, and
    it ends the run at once.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._held = self._breakable = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        """Take the signals over, in the main thread (elsewhere Python allows none)."""
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
                number = getattr(signal, name, None)  # Windows has the first two
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the signals back.

        Raises:
            Interrupted: a signal outside of training ended the run.
        """
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if isinstance(error, _Stop):
            name = signal.Signals(error.args[0]).name
            fix = "start it again, or cnntrain resume run=RUN"
            raise Interrupted(f"{name} stopped the run, outside of training", signum=error.args[0], fix=fix) from None

    def _note(self, number: int, frame: FrameType | None) -> None:
        leaving = number != getattr(signal, "SIGUSR1", None)
        if leaving and not self._held:
            raise _Stop(number)
        if leaving and self.pending == number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if leaving or self.pending is None:
            self.pending = number
        if leaving and self._breakable:
            raise _Break

    @contextmanager
    def holding(self) -> Iterator["Signals"]:
        """Note signals, for a loop that looks at ``pending`` after each step."""
        self._held = True
        try:
            yield self
        finally:
            self._held = False

    def unless_asked(self, work: Callable[[], T]) -> T | None:
        """Do work that changes nothing (an evaluation); a signal to leave ends it at once, and gives None."""
        try:
            self._breakable = True
            return None if self.pending not in (None, getattr(signal, "SIGUSR1", None)) else work()
        except _Break:
            return None
        finally:
            self._breakable = False

    def leave(self, step: int, run: Run, *, saved: int) -> None:
        """Leave if that was asked for, go on otherwise; ``saved`` is the step whose state is on disk.

        Raises:
            Interrupted: the signal was one to leave.
        """
        number, self.pending = self.pending, None
        if number is None or number == getattr(signal, "SIGUSR1", None):
            return
        raise Interrupted(
            f"{signal.Signals(number).name} stopped the run after step {step}; "
            + ("its state is saved" if saved == step else f"the last state that could be saved is that of step {saved}"),
            signum=number,
            where=str(run.folder),
            fix=run.resume_command,
        )
