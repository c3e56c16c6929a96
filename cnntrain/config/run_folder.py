"""Folders for results: created exclusively, so that two starts in one second get two; names of a sweep's jobs."""

import hashlib
import itertools
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from cnntrain.errors import CheckpointError

_LONGEST = 100
_SIGNS_OF_A_RUN = ("config.yaml", "status.json", "train.log", "metrics.jsonl", "last.safetensors", "best.safetensors", "multirun.yaml")
_OURS = (*_SIGNS_OF_A_RUN, "*.safetensors", "run.lock", "events.out.tfevents.*", "lr_find.png")


def create(path: Path, *, given: bool, key: str = "hydra.run.dir") -> Path:
    """Create a folder for results, and its parents. ``key`` is what names it.

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
            where=key,
            fix=f"{key}=FOLDER that is writable and has room",
        ) from error


def refuse_results(path: Path) -> None:
    """Raise CheckpointError if the folder holds results: a new run would mix with them. To be asked by whoever has its lock."""
    if any((path / name).exists() for name in _SIGNS_OF_A_RUN):
        raise CheckpointError(
            f"{path} holds a run already", where="hydra.run.dir", fix=f"cnntrain resume run={path}, or another hydra.run.dir"
        )


def take_back(folder: Path, made: Collection[Path], before: Collection[str]) -> bool:
    """Let a folder be as it was before a run that never began, whose files are removed; nothing is done where it has begun.

    The folder and those above it go, too, as far as they were ``made`` for it and nobody has put anything there. ``before``: the names in
    it then. To be called by whoever has its lock.
    """
    ours = [path for path in folder.iterdir() if path.name not in before and any(map(path.match, _OURS))]
    if any(path.suffix == ".safetensors" or (path.name == "metrics.jsonl" and path.stat().st_size) for path in ours):
        return False
    for path in sorted(ours, key=lambda path: path.name == "run.lock"):  # which keeps others out until the end
        path.unlink()
    for one in (folder, *folder.parents):
        if one not in made or any(one.iterdir()):
            break
        one.rmdir()
    return True


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
