"""A disk that fails: stands between the product's durable writes and the system, and does one evil thing at the k-th operation.

What is counted is what changes the disk or makes it safe: opening a file to write, each write that reaches the system, fsync (of a file
and of a folder), link, replace, unlink. Reading is not counted. Trouble is a real one: SIGKILL to the own process, an ``OSError`` of the
system's kind, or fewer bytes taken than were given.
"""

import builtins
import contextlib
import errno
import io
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnntrain.engine import lock, run, storage

KILL, TORN, SHORT = "kill", "torn write, then kill", "short write, then ENOSPC"
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A folder for many small runs: in memory where the machine has that, since fsync there costs nothing."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="cnntrain-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Disk:
    """Counts operations in ``seen`` as texts ("fsync last.safetensors"); number ``at`` (from 1) fails, and the ``times`` - 1 after it.

    ``at`` may also be such a text: then the first operation of that text fails.
    """

    def __init__(self, at: int | str | None = None, trouble: str = KILL, *, times: int = 1) -> None:
        self.at, self.trouble, self.times = at, trouble, times
        self.seen: list[str] = []
        self._full = False

    def __enter__(self) -> "Disk":
        own_os = _Os(self)
        self._patches = contextlib.ExitStack()
        for module in (storage, run, lock):
            for name, value in (("open", self.open), ("os", own_os)):
                if hasattr(module, name) or name == "open":
                    self._patches.callback(_put_back, module, name, module.__dict__.get(name))
                    setattr(module, name, value)
        return self

    def __exit__(self, *error: object) -> None:
        self._patches.close()

    def open(self, path: Any, mode: str = "r", buffering: int = -1, **text: Any) -> Any:
        """As the builtin; what is written goes through :meth:`write`."""
        if mode.startswith("r"):
            return builtins.open(path, mode, buffering, **text)
        self.count("open", path)
        raw = _Raw(path, mode.replace("b", ""))
        raw.disk, raw.path = self, path
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, **text)

    def count(self, what: str, path: Any) -> bool:
        """Note an operation; True if it is one to go wrong in a way of its own (a write), else that has happened here."""
        path = Path(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path)
        self.seen.append(f"{what} {'the folder' if path.is_dir() else re.sub(r'^.tmp-[0-9]+-', 'new ', path.name)}")
        if self.at == self.seen[-1]:
            self.at = len(self.seen)
        if not isinstance(self.at, int) or not self.at <= len(self.seen) < self.at + self.times:
            return False
        if self.trouble in (TORN, SHORT) and what == "write":
            return True
        if self.trouble in (KILL, TORN):
            os.kill(os.getpid(), signal.SIGKILL)
        number = ERRORS.get(self.trouble, errno.ENOSPC)
        raise OSError(number, os.strerror(number), str(path))

    def write(self, raw: "_Raw", data: Any) -> int:
        """One write to the system, of all of ``data`` or not."""
        if self._full:
            self._full = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(raw.path))
        part = memoryview(data).cast("B")
        if not self.count("write", raw.path):
            return io.FileIO.write(raw, part)
        written = io.FileIO.write(raw, part[: len(part) // 2])
        if self.trouble == TORN:
            os.kill(os.getpid(), signal.SIGKILL)
        self._full = True
        return written


class _Raw(io.FileIO):
    disk: Disk
    path: Any

    def write(self, data: Any) -> int:
        return self.disk.write(self, data)


class _Os:
    """The module ``os``, its changing functions counted."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("link", "replace", "unlink", "fsync", "open"):
            return real

        def counted(*paths: Any) -> Any:
            named = paths[-1] if name in ("link", "replace") else paths[0]
            self._disk.count(name, named)
            return real(*paths)

        return counted


def _put_back(module: Any, name: str, value: Any) -> None:
    if value is None:
        delattr(module, name)
    else:
        setattr(module, name, value)
