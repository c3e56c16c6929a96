"""The lock that keeps a second process out of a run's folder."""

import errno
import os
import shlex
import time
from pathlib import Path
from typing import IO

from cnntrain.errors import CheckpointError

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network file systems have none


class Lock:
    """The right to write to a run's folder, for as long as it is held; ``run.lock`` there names the process that has it.

    The system frees it when its process ends, however that is, so there is no stale lock. Where there are no such locks (Windows, some
    network file systems) nobody is kept out. A context manager; taking it twice is taking it once. ``patience``: seconds to wait for it;
    ``key`` is what names the folder.

    Raises:
        CheckpointError: on taking, if another process has it or the folder cannot be written.
    """

    def __init__(self, folder: Path, *, patience: float = 0.0, key: str = "hydra.run.dir") -> None:
        self.folder, self.patience, self.key = Path(folder), patience, key
        self._file: IO[str] | None = None

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def take(self) -> None:
        """Take it, unless it is held already."""
        if self._file is not None:
            return
        path = self.folder / "run.lock"
        try:
            file = open(path, "a+")  # noqa: SIM115 (held open as long as the run lasts)
            try:
                self._ask(file)
                for _ in range(3):
                    if _is_at(path, file):
                        break
                    file.close()  # who had it has removed it, as a run does that cannot be
                    file = open(path, "a+")  # noqa: SIM115
                    self._ask(file)
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise unwritable(self.folder, error, self.key) from error
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=file.close)  # a data worker that outlives us must not hold the lock
        self._file = file

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _ask(self, file: IO[str]) -> None:
        try:
            import fcntl
        except ImportError:
            return
        end = time.monotonic() + self.patience
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    fix = "wait for that process, or end it"
                    raise CheckpointError(f"{self.folder} is in use by process {_owner(file)}", where="run", fix=fix) from None
                time.sleep(0.05)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return None


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _owner(file: IO[str]) -> str:
    """The process that has the lock. It writes its number just after it got it: one that has gone, or none, is looked at again."""
    owner = ""
    for _ in range(50):
        file.seek(0)
        owner = file.read().strip()
        if owner.isdecimal() and _lives(int(owner)):
            break
        time.sleep(0.01)
    return owner or "unknown"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's; no number of this system
    return True


def unwritable(folder: Path, error: OSError, key: str = "hydra.run.dir") -> CheckpointError:
    """The error to raise where a folder for results cannot be written, which ``key`` names if it is a new one."""
    fix = f"{key}=FOLDER that is writable and has room"
    if os.path.exists(folder / "config.yaml"):  # a run is there: it can go on nowhere else
        fix = f"make it writable, or room there, then cnntrain resume {shlex.quote(f'run={folder}')}"
    return CheckpointError(f"Run folder {folder} cannot be written: {error.strerror}", where=key, fix=fix)
