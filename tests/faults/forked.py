"""A process to break: a fork of this one, which has imported torch already (0.15 s instead of 4)."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cnntrain.data.storage import end_with


class Ended(NamedTuple):
    """How a child ended: its exit code (128 + n after signal n), and what it wrote to stdout and stderr."""

    code: int
    output: str


class Child:
    """A running child, the leader of its own process group."""

    def __init__(self, pid: int, console: Path) -> None:
        self.pid, self.console = pid, console

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 60.0) -> Ended:
        """Wait for its end; past ``timeout`` seconds it is killed, and the test fails."""
        end = time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code if code >= 0 else 128 - code, self.console.read_text(errors="replace"))
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"no end after {timeout:g} s:\n{self.console.read_text(errors='replace')}")
            time.sleep(0.002)


def start(work: Callable[[], int | None], console: Path) -> Child:
    """Run ``work`` in a fork; its result is the exit code (None: 0), an exception's is 1 with the traceback in ``console``."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Child(pid, console)
    code = 1
    try:
        os.setsid()
        end_with(parent, signal.SIGKILL)  # nothing outlives a test
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)  # the test's own timeout is not the child's
        out = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(work: Callable[[], int | None], console: Path, timeout: float = 60.0) -> Ended:
    """Run ``work`` in a fork to its end."""
    return start(work, console).wait(timeout)
