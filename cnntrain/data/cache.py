"""Pictures decoded once: a file of pixels that later runs map into memory, beside a note of what could not be read.

One pair of files, ``KEY.npy`` (uint8 (N, C, S, S), row i is file i of the listing) and ``KEY.json``, for each folder, part and set
of rules; the note holds a digest of the listing (names, sizes, times), and a folder that has changed is decoded again. Both are written
under other names and renamed, the note last, under a lock: two runs at once do the work once, and a killed one leaves nothing that is
taken for whole.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.data.decode import Rules
from cnntrain.data.decoding import decode_all
from cnntrain.data.scan import Part
from cnntrain.data.storage import locked, make_folder
from cnntrain.errors import DataError

VERSION = 2  # of the decoder: a change of pixels needs another number


@dataclass(frozen=True)
class Examined:
    """What decoding a part has found: ``pixels`` uint8 (N, C, S, S) or None, the unreadable rows with reasons, files of several frames."""

    pixels: np.ndarray | None
    unreadable: dict[int, str]
    several: int


def examine(part: Part, rules: Rules, *, folder: Path, keep: bool, workers: int, timeout: float = 60.0) -> Examined:
    """Decode every picture of ``part``, or take what an earlier run has found. ``keep`` stores the pixels and maps them copy-on-write.

    Raises:
        DataError: the pixels cannot be written, a decoding process was killed, or reading a picture takes longer than ``timeout`` seconds.
    """
    make_folder(folder, key="data.cache")
    stem = folder / _digest(str(part.root.resolve()), rules, VERSION, "pixels" if keep else "check")
    note, store = stem.with_suffix(".json"), stem.with_suffix(".npy")
    with locked(stem.with_suffix(".lock"), key="data.cache"):
        known = _read_note(note, part, {"unreadable", "several"})
        if known is None or (keep and not _is_whole(store, part, rules)):
            known = {"listing": part.digest, "root": str(part.root), "rules": asdict(rules)}
            _build(known, part, rules, note, store if keep else None, workers, timeout)
        pixels = np.load(store, mmap_mode="c", allow_pickle=False) if keep else None
    return Examined(pixels, {int(row): reason for row, reason in known["unreadable"]}, known["several"])


def remember(what: str, compute: Callable[[], Any], *, part: Part, rules: Rules, folder: Path) -> Any:
    """What ``compute`` gives, in plain JSON values, or what it gave in an earlier run on the same pictures under the name ``what``."""
    make_folder(folder, key="data.cache")
    note = folder / f"{_digest(str(part.root.resolve()), rules, VERSION, what)}.json"
    with locked(note.with_suffix(".lock"), key="data.cache"):
        known = _read_note(note, part, {"value"})
        if known is None:
            known = {"listing": part.digest, "root": str(part.root), "rules": asdict(rules), "what": what, "value": compute()}
            try:
                _write_note(note, known)
            except OSError as error:
                raise _cannot_write(folder, error) from error
        return known["value"]


def _build(known: dict, part: Part, rules: Rules, note: Path, store: Path | None, workers: int, timeout: float) -> None:
    partial = None if store is None else store.with_suffix(".partial.npy")
    note.unlink(missing_ok=True)  # from here on nothing counts until the new note stands
    try:
        if partial is not None:
            _reserve(partial, _shape(part, rules))
        unreadable, known["several"] = decode_all(part, rules, partial, workers, timeout)
        known["unreadable"] = sorted(unreadable.items())
        if partial is not None:
            os.replace(partial, store)
        _write_note(note, known)
    except OSError as error:
        raise _cannot_write(note.parent, error) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _reserve(path: Path, shape: tuple[int, ...]) -> None:
    """Make the file with all its blocks: a full disk is an error here, and would be a bus error on writing into the map."""
    path.unlink(missing_ok=True)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _shape(part: Part, rules: Rules) -> tuple[int, int, int, int]:
    return len(part.files), rules.channels, rules.image_size, rules.image_size


def _is_whole(store: Path, part: Part, rules: Rules) -> bool:
    try:
        return np.load(store, mmap_mode="r", allow_pickle=False).shape == _shape(part, rules)
    except (OSError, ValueError, EOFError):
        return False


def _read_note(path: Path, part: Part, keys: set[str]) -> dict | None:
    """A note that has ``keys`` and is of the part's files as they are now."""
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and keys <= note.keys() and note.get("listing") == part.digest else None


def _write_note(path: Path, note: dict) -> None:
    draft = path.with_suffix(".partial.json")
    draft.write_text(json.dumps(note))
    os.replace(draft, path)


def _cannot_write(folder: Path, error: OSError) -> DataError:
    what = f"cannot write decoded pictures to {folder}: {error.strerror or error}"
    return DataError(what, where="data.cache", fix="data.cache=DIR on a disk with room")


def _digest(*values: object) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
