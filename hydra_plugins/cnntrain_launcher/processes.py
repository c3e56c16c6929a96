"""Processes for jobs: forked from a parent that has imported what they need, or started afresh; watched, timed, stopped."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from cnntrain.data.storage import end_with

_GRACE = 60.0  # seconds between asking a job to stop, which is at the end of a step and a save, and stopping it


class Process:
    """A running job. ``code`` is None while it runs, then its exit code, negative for a signal."""

    def __init__(self, pid: int, child: "subprocess.Popen[bytes] | None") -> None:
        self.pid, self._child = pid, child
        self.code: int | None = None
        self.started = time.monotonic()
        self.timed_out = False
        self._kill_at: float | None = None

    def poll(self, timeout: float | None = None) -> int | None:
        """Look whether it has ended; past ``timeout`` seconds it is told to."""
        if self.code is None:
            self._look()
        if self.code is None:
            now = time.monotonic()
            if timeout is not None and now - self.started > timeout and not self.timed_out:
                self.timed_out = True
                self.stop()
            if self._kill_at is not None and now > self._kill_at:
                self._kill()
        return self.code

    def stop(self) -> None:
        """Ask it to save and leave; if it does not, it is killed."""
        with contextlib.suppress(ProcessLookupError):  # it has ended in between
            os.kill(self.pid, signal.SIGTERM)  # not its data workers, which it needs to the end of the step
        self._kill_at = time.monotonic() + _GRACE

    def _look(self) -> None:
        if self._child is not None:
            self.code = self._child.poll()
        else:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        if self.code is not None and hasattr(os, "killpg"):
            self._kill()  # its data workers, should it have left any

    def _kill(self) -> None:
        """Kill it and its data workers: a job leads its own group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # they have ended in between
            os.killpg(self.pid, signal.SIGKILL) if hasattr(os, "killpg") else os.kill(self.pid, signal.SIGTERM)


def can_fork() -> bool:
    """Whether a fork is safe: on Linux, while CUDA is untouched (macOS's libraries do not survive one)."""
    torch = sys.modules.get("torch")
    return sys.platform == "linux" and not (torch is not None and torch.cuda.is_initialized())


def fork(work: Callable[[], int], *, console: Path, environment: Mapping[str, str]) -> Process:
    """Run ``work`` in a forked process, its output going to ``console``. Its result is the exit code."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns when any thread exists; ours are the idle ones of numeric libraries, which have fork handlers.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return Process(pid, None)
    code = 1
    try:
        os.setsid()
        end_with(parent, signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # until the job takes them over
        _redirect(console)
        os.environ.update(environment)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(code)  # whatever failed, nothing of the parent's is to be tidied up here


def fresh(folder: Path, *, console: Path, environment: Mapping[str, str]) -> Process:
    """Run the job that ``folder`` describes in a new interpreter."""
    where = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    with open(console, "ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "cnntrain", "--job", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": where.rstrip(os.pathsep), **environment},
        )
    return Process(child.pid, child)


def num_gpus() -> int:
    """How many NVIDIA GPUs there are, found without touching CUDA (a fork could not use it afterwards)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return _listed_gpus()


@functools.cache
def _listed_gpus() -> int:
    """By NVIDIA's own tool, which takes up to a second."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def gpu_name(slot: int) -> str:
    """What CUDA_VISIBLE_DEVICES calls the GPU of that number."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[slot].strip() if visible else str(slot)


def _redirect(console: Path) -> None:
    out = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
