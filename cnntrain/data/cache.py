"""Pictures decoded once: a file of pixels that later runs map into memory, beside a note of what could not be read.

One pair of files, ``KEY.npy`` (uint8 (N, C, S, S), row i is file i of the listing) and ``KEY.json``, for each folder, part and set
of rules; the note holds a digest of the listing (names, sizes, times), and a folder that has changed is decoded again. Both are written
under other names and renamed, the note last, under a lock: two runs at once do the work once, and a killed one leaves nothing that is
taken for whole.
"""

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules
from cnntrain.data.names import Names
from cnntrain.data.progress import progress
from cnntrain.data.scan import Part
from cnntrain.data.storage import be_a_worker, locked, make_folder
from cnntrain.errors import DataError

VERSION = 1  # of the decoder: a change of pixels needs another number
CHUNK = 64  # files that a decoding process takes at a time
FEW = 512  # files that are decoded faster than processes start


@dataclass(frozen=True)
class Examined:
    """What decoding a part has found: ``pixels`` uint8 (N, C, S, S) or None, the unreadable rows with reasons, files of several frames."""

    pixels: np.ndarray | None
    unreadable: dict[int, str]
    several: int


def examine(part: Part, rules: Rules, *, folder: Path, keep: bool, workers: int) -> Examined:
    """Decode every picture of ``part``, or take what an earlier run has found. ``keep`` stores the pixels and maps them copy-on-write."""
    make_folder(folder, key="data.cache")
    stem = folder / _digest(str(part.root.resolve()), rules, VERSION, "pixels" if keep else "check")
    note, store = stem.with_suffix(".json"), stem.with_suffix(".npy")
    with locked(stem.with_suffix(".lock"), key="data.cache"):
        known = _read_note(note, part, {"unreadable", "several"})
        if known is None or (keep and not _is_whole(store, part, rules)):
            known = {"listing": part.digest, "root": str(part.root), "rules": asdict(rules)}
            _build(known, part, rules, note, store if keep else None, workers)
        pixels = np.load(store, mmap_mode="c") if keep else None
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


def _build(known: dict, part: Part, rules: Rules, note: Path, store: Path | None, workers: int) -> None:
    partial = None if store is None else store.with_suffix(".partial.npy")
    note.unlink(missing_ok=True)  # from here on nothing counts until the new note stands
    try:
        if partial is not None:
            _reserve(partial, _shape(part, rules))
        unreadable, known["several"] = _decode_all(part, rules, partial, workers)
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


def _decode_all(part: Part, rules: Rules, store: Path | None, workers: int) -> tuple[dict[int, str], int]:
    unreadable: dict[int, str] = {}
    several = 0
    with progress(f"decoding {part.name}", len(part.files)) as advance:
        for number, bad, more in _results(part, rules, store, workers if len(part.files) > FEW else 0):
            advance(number)
            unreadable.update(bad)
            several += more
    return unreadable, several


def _results(part: Part, rules: Rules, store: Path | None, workers: int) -> Iterator[tuple[int, dict[int, str], int]]:
    """What :func:`_decode` gives for every chunk of the part's files, in any order."""
    starts = range(0, len(part.files), CHUNK)
    if workers < 2:
        pixels = None if store is None else np.load(store, mmap_mode="r+")
        yield from (_decode(str(part.root), part.files, start, rules, pixels) for start in starts)
        return
    # A forked child runs Pillow and numpy alone, so it does not miss the parent's threads (torch's): Python's warning of that is off.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    given = (str(part.root), part.files, rules, store)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method), initializer=_begin, initargs=given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            futures = [pool.submit(_work, start) for start in starts]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError("a decoding process was killed", where="data folder", fix="data.workers=1 (less memory is needed)") from error
    finally:
        pool.shutdown(cancel_futures=True)


_STATE: dict = {}  # of a decoding process: the files, its rules and the map it writes into


def _begin(root: str, files: Names, rules: Rules, store: Path | None) -> None:
    be_a_worker()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _STATE.update(root=root, files=files, rules=rules, pixels=None if store is None else np.load(store, mmap_mode="r+"))


def _end_with_parent() -> None:
    """A parent that was killed cannot end its pool, whose processes would wait for work for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(start: int) -> tuple[int, dict[int, str], int]:
    return _decode(start=start, **_STATE)


def _decode(root: str, files: Names, start: int, rules: Rules, pixels: np.ndarray | None) -> tuple[int, dict[int, str], int]:
    """Decode the chunk of files from ``start`` into their rows of ``pixels``.

    Returns how many files it has, the unreadable rows with reasons, and how many files have several frames.
    """
    unreadable, several = {}, 0
    rows = range(start, min(start + CHUNK, len(files)))
    with pillow_rules():
        for row in rows:
            try:
                picture, more = decode(os.path.join(root, files[row]), rules)
            except UnreadableError as error:
                unreadable[row] = str(error)
                continue
            several += more
            if pixels is not None:
                pixels[row] = picture
    return len(rows), unreadable, several


def _shape(part: Part, rules: Rules) -> tuple[int, int, int, int]:
    return len(part.files), rules.channels, rules.image_size, rules.image_size


def _is_whole(store: Path, part: Part, rules: Rules) -> bool:
    try:
        return np.load(store, mmap_mode="r").shape == _shape(part, rules)
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
