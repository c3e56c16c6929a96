"""Folders for results: created exclusively, so that two starts in one second get two; names of a sweep's jobs."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from cnntrain.errors import CheckpointError

_LONGEST = 100
_SIGNS_OF_A_RUN = ("config.yaml", "status.json", "train.log", "metrics.jsonl", "last.safetensors", "best.safetensors", "multirun.yaml")


def create(path: Path, *, given: bool) -> Path:
    """Create a folder for results, and its parents.

    A name that the user has ``given`` is taken as it is, and may be there already; any other gets ``_2``, ``_3``, … if it is taken.

    Raises:
        CheckpointError: it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not given:
            return _next(path)
        path.mkdir(exist_ok=True)
        return path
    except OSError as error:
        raise CheckpointError(
            f"folder {path} cannot be created: {error.strerror or error}",
            where="hydra.run.dir",
            fix="hydra.run.dir=FOLDER that is writable",
        ) from error


def refuse_results(path: Path) -> None:
    """Raise CheckpointError if the folder holds results: a new run would mix with them. To be asked by whoever has its lock."""
    if any((path / name).exists() for name in _SIGNS_OF_A_RUN):
        raise CheckpointError(
            f"{path} holds a run already", where="hydra.run.dir", fix=f"cnntrain resume run={path}, or another hydra.run.dir"
        )


def job_name(number: int, overrides: Sequence[str]) -> str:
    """A job's folder: its number and what is special about it, safe for any file system, at most 100 characters.

    ``optimizer.lr=0.1`` becomes ``lr=0.1`` unless two of the keys end in ``lr``.
    """
    lasts = [override.partition("=")[0].rpartition(".")[2] for override in overrides]
    parts = []
    for override, last in zip(overrides, lasts, strict=True):
        key, equals, value = override.partition("=")
        parts.append((last if lasts.count(last) == 1 else key) + equals + value)
    name = re.sub(r"[^\w.=+-]+", "-", "_".join([str(number), *parts]), flags=re.ASCII).strip("-")
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9]}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _next(path: Path) -> Path:
    for count in itertools.count(1):
        folder = path if count == 1 else path.with_name(f"{path.name}_{count}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError
