"""Files that are whole or not there: every durable write of a run goes through here."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], object], *, keep: Path | None = None, also: Path | None = None) -> None:
    """Write a file so that ``path`` is at any moment the old or the new one, complete.

    Temporary file in the same folder → fsync → a second name ``also`` → the old file stays as ``keep`` (hard links both) → rename → fsync
    of the folder.

    Raises:
        OSError: the disk is full, read-only or gone; the old file is untouched.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if also is not None:
            link(temporary, also)
        if keep is not None and path.exists():
            link(path, keep)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def link(old: Path, new: Path) -> None:
    """Make ``new`` a second name of the file ``old``, in place of whatever ``new`` was; a copy where links are not possible."""
    temporary = new.with_name(f".tmp-{os.getpid()}-{new.name}")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(old, temporary)
        except OSError:
            shutil.copyfile(old, temporary)
        os.replace(temporary, new)
    finally:
        temporary.unlink(missing_ok=True)


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


def sweep_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in a run's folder."""
    for path in folder.glob(".tmp-*"):
        path.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
