"""Files that are whole or not there: every durable write of a run goes through here."""

import contextlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml


def write_whole(path: Path, write: Callable[[BinaryIO], object], *, keep: Path | None = None, also: Path | None = None) -> None:
    """Write a file so that ``path`` is at any moment the old or the new one, complete.

    Temporary file in the same folder → fsync → a second name ``also`` → the old file stays as ``keep`` (hard links both) → rename → fsync
    of the folder.

    Raises:
        OSError: the disk is full, read-only or gone; the old file is untouched.
    """
    with _temporary(path) as temporary:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if also is not None:
            link(temporary, also)
        if keep is not None and path.exists():
            link(path, keep)
        os.replace(temporary, path)
    sync_folder(path.parent)


def link(old: Path, new: Path) -> None:
    """Make ``new`` a second name of the file ``old``, in place of whatever ``new`` was; a copy where links are not possible."""
    with _temporary(new) as temporary:
        try:
            os.link(old, temporary)
        except OSError:
            with open(old, "rb") as source, open(temporary, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
        os.replace(temporary, new)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for what is to become it; what is left there is removed.

    That is after an error, and after a rename onto another name of the same file, which does nothing (POSIX).
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):  # most often it is not there; after an error, that is what is to be told
            os.unlink(temporary)


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable."""
    if os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write ``config.yaml``, from which a run can be started again."""
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120))


def sweep_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in a run's folder; files that only look alike are not ours."""
    for path in folder.glob(".tmp-*"):
        if re.fullmatch(r"\.tmp-\d+-.+", path.name) and path.is_file():
            os.unlink(path)


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
