"""Signals end a run at a step's end, after its state is saved; a second Ctrl-C ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from cnntrain.errors import Interrupted, Stopped

if TYPE_CHECKING:
    from cnntrain.engine.run import Run  # which imports torch; the command line needs this module before that

T = TypeVar("T")
_TAKEN = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
_SAVE = getattr(signal, "SIGUSR1", None)  # Windows has the first two only


class _Break(BaseException):
    """Ends work that changes nothing."""


class Signals:
    """Takes SIGINT, SIGTERM, SIGHUP (leave) and SIGUSR1 (save and go on) over while it is entered.

    While :meth:`holding`, a signal is noted, for the loop to save and then :meth:`leave`; before and after there is nothing to save, and
    it ends the run at once.
    """

    def __init__(self, run: "Run | None" = None) -> None:
        self.pending: int | None = None
        self._again = run.resume_command if run else "start it again"
        self._held = self._breakable = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        """Take the signals over, in the main thread (elsewhere Python allows none)."""
        self._before = _take(self._note)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the signals back.

        Raises:
            Interrupted: a signal outside of training ended the run.
        """
        _give_back(self._before)
        if isinstance(error, Stopped):
            name = signal.Signals(error.signum).name
            raise Interrupted(f"{name} stopped the run, outside of training", signum=error.signum, fix=self._again) from None

    def _note(self, number: int, frame: FrameType | None) -> None:
        asked = self.pending not in (None, _SAVE)  # to leave, before this
        if number == _SAVE:
            self.pending = self.pending or number
            return
        self.pending = number
        if not self._held:
            raise Stopped(number)
        if asked and number == signal.SIGINT:
            self._quit()
        if self._breakable:
            self._breakable = False  # once: the next one would meet nobody who takes it
            raise _Break

    def _quit(self) -> None:
        """End the process now, as SIGINT does where nobody takes it over."""
        line = f"error: SIGINT twice: left at once, before the step was saved. Fix: {self._again}\n"
        os.write(2, (("\n" if os.isatty(2) else "") + line).encode())  # sys.stderr may be in the midst of a line
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)

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
            try:
                self._breakable = True
                done = None if self.pending not in (None, _SAVE) else work()
            finally:
                self._breakable = False
        except _Break:
            return None
        return done  # here, since a return within the inner try has in Python 3.12 an instruction that it does not cover

    def leave(self, step: int, run: "Run", *, saved: int) -> None:
        """Leave if that was asked for, go on otherwise; ``saved`` is the step whose state is on disk.

        Raises:
            Interrupted: the signal was one to leave.
        """
        number, self.pending = self.pending, None
        if number is None or number == _SAVE:
            return
        raise Interrupted(
            f"{signal.Signals(number).name} stopped the run after step {step}; "
            + ("its state is saved" if saved == step else f"the last state that could be saved is that of step {saved}"),
            signum=number,
            where=str(run.folder),
            fix=run.resume_command,
        )


@contextmanager
def ending_the_command(*, for_good: bool = False) -> Iterator[None]:
    """For a whole command: a signal to leave ends it by an exception, so that what is open is closed; SIGUSR1 finds nothing to save.

    A second one ends it at once, by the system's own means; so does one afterwards, where the process ends with the command
    (``for_good``): there Python would answer a Ctrl-C by a traceback. :class:`Signals` takes over within a run.

    Raises:
        Stopped: wherever the command is.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number != _SAVE:
            for taken in before:
                signal.signal(taken, signal.SIG_DFL)
            raise Stopped(number)

    before: dict[int, object] = {}
    before |= _take(stop)
    try:
        yield
    finally:
        _give_back(dict.fromkeys(before, signal.SIG_DFL) if for_good else before)


def _take(handler: Callable[[int, FrameType | None], None]) -> dict[int, object]:
    """Handle the signals, and what handled them until now; nohup ignores SIGHUP, and so do we."""
    before: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _TAKEN if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    return before


def _give_back(before: dict[int, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
