"""How long reading may stand still: a network share that is gone answers no read, and a run must end by itself and name the file."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


class Patience:
    """Whether reading has stood still for ``timeout`` seconds; to be asked every ``pause`` seconds.

    Time is counted in questions, not by a clock, so that a process that was stopped for a while and goes on has not stood still.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout, self.pause = timeout, min(1.0, timeout / 4)
        self._at: object = None
        self._same = 0

    def is_over(self, at: object) -> bool:
        """``at`` is where reading is now; None: there is nothing to read."""
        self._same = self._same + 1 if at == self._at and at is not None else 0
        self._at = at
        return self._same * self.pause >= self.timeout


def in_time(results: Iterator[Result], at: Callable[[], object], timeout: float) -> Iterator[Result]:
    """The same results, each made by a thread when it is asked for: whoever waits for it can give up, which a read itself cannot.

    Raises:
        TimeoutError: ``at()``, which tells where reading is, has been the same for ``timeout`` seconds.
    """
    asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
    made: queue.SimpleQueue[tuple[bool, object]] = queue.SimpleQueue()

    def work() -> None:
        while asked.get():
            try:
                made.put((True, next(results)))
            except BaseException as error:  # StopIteration too: whoever waits must hear of all
                made.put((False, error))

    thread = threading.Thread(target=work, name="reading", daemon=True)  # a daemon: one that hangs does not keep the process
    thread.start()
    idle = True
    try:
        while True:
            idle = False
            asked.put(True)
            good, result = _waited(made, at, Patience(timeout))
            idle = True
            if isinstance(result, StopIteration):
                return
            if not good:
                raise result  # type: ignore[misc]
            yield result  # type: ignore[misc]
    finally:
        asked.put(False)
        if idle:
            thread.join()


def _waited(made: queue.SimpleQueue, at: Callable[[], object], patience: Patience) -> tuple[bool, object]:
    while True:
        try:
            return made.get(timeout=patience.pause)
        except queue.Empty:
            if patience.is_over(at()):
                raise TimeoutError from None
