"""Where downloaded and decoded data lie, a lock between processes that make the same file, and what the machine has free."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnntrain.errors import DataError


def cache_folder(*parts: str) -> Path:
    """``~/.cache/cnntrain/PARTS``, or below ``XDG_CACHE_HOME`` where that is set (XDG Base Directory Specification).

    Raises:
        DataError: neither variable is set, and the system knows no home of this user (a container with a number for a user).
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(home if os.path.isabs(home) else Path.home() / ".cache").joinpath("cnntrain", *parts)
    except RuntimeError as error:
        raise DataError("there is no home folder to keep data in", where="HOME is not set", fix="export XDG_CACHE_HOME=/tmp") from error


def path_of(text: str) -> Path:
    """The path that a user wrote; ``~`` is the home folder where there is one of that name, and else a name as any other."""
    return Path(os.path.expanduser(text))


def make_folder(folder: Path, *, key: str) -> None:
    """Make a folder that is written to. Raises DataError that names the config key ``key`` if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot make the folder {folder}: {reason}", where=key, fix=f"{key}=DIR with a folder that is writable") from error


@contextmanager
def locked(path: Path, *, key: str) -> Iterator[None]:
    """Hold the lock file ``path`` alone; another process waits, and says so. A dead process holds no lock: the system frees it."""
    import fcntl

    try:
        handle = open(path, "a")  # noqa: SIM115 - closed below, after the lock is tried
    except OSError as error:
        what = f"cannot write to {path.parent}: {error.strerror}"
        raise DataError(what, where=key, fix=f"{key}=DIR with a folder that is writable") from error
    with handle:
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that writes to {path.parent}", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            # Some network file systems have no locks. Every file is still renamed into place whole; only work may be done twice.
            yield
            return
        yield


def be_a_worker() -> None:
    """In a child process: leave Ctrl-C to the parent, which saves first, and end on SIGTERM, whatever handlers were inherited."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_with(parent: int, number: int) -> None:
    """Have the system send this process the signal ``number`` when its ``parent`` is gone, even if that was killed. Linux alone can."""
    if sys.platform != "linux":
        return
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it has gone already
        os.kill(os.getpid(), number)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that can be taken without swapping: the system's, or less where a control group (a container) limits it."""
    system = _kibibytes("/proc/meminfo", "MemAvailable:") * 1024
    if not system:
        system = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    return system if limit is None else max(0, min(system, limit - (used or 0)))


def _kibibytes(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
