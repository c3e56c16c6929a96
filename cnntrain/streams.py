"""A standard output that may vanish: a run whose reader has left (``| head``), whose log's disk is full, or without a terminal goes on."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader has left; the terminal has hung up; it was closed


def begin_in_utf8() -> None:
    """Begin this command again in Python's UTF-8 mode, where the locale has another encoding (``C`` without coercion, ``tr_TR``).

    The names of folders and classes are then the same everywhere, and so is what is written; the terminal is shown what it has letters for.
    """
    if os.name != "posix" or sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    shown = getattr(sys.stdout, "encoding", None) or "ascii"
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": f"{shown}:replace"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


class _Unbreakable:
    """A text stream; once its reader is gone, what is written goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if anybody listens and there is room."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        """Flush, if anybody listens and there is room."""
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if error.errno not in _GONE:  # somebody waits for it
            print(f"warning: the output cannot be written ({error.strerror}): the command goes on without", file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fill_gaps() -> None:
    """Put nothing in the place of standard streams that are closed (``>&-``).

    Else the next files that are opened would take their numbers, and what a library writes to standard error would end up in a checkpoint.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def unbreakable_stdout() -> Iterator[None]:
    """For as long as this lasts, writing to stdout or stderr does not fail for want of a reader."""
    _fill_gaps()
    before = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            stream = open(os.devnull, "w")  # noqa: SIM115 (it lasts as long as the process)
        setattr(sys, name, _Unbreakable(stream))
    try:
        yield
    finally:
        for name in ("stdout", "stderr"):
            getattr(sys, name).flush()
        sys.stdout, sys.stderr = before
