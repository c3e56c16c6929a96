"""Every picture of a part decoded into its row of a file, by processes where there are many: what fills :mod:`cnntrain.data.cache`."""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import threading
import warnings
from collections.abc import Iterator, MutableSequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules
from cnntrain.data.names import Names
from cnntrain.data.patience import Patience, in_time
from cnntrain.data.progress import progress
from cnntrain.data.scan import Part
from cnntrain.data.storage import be_a_worker
from cnntrain.errors import DataError

CHUNK = 64  # files that a decoding process takes at a time
FEW = 512  # files that are decoded faster than processes start
NOTHING = -1  # a row: none is being read


@dataclass
class Task:
    """What decodes a part's files: where they are, what is made of them, and where the pixels go (uint8 (N, C, S, S), or None).

    ``at`` holds the row that is being read, at ``seat``, for whoever waits.
    """

    root: str
    files: Names
    rules: Rules
    pixels: np.ndarray | None
    at: MutableSequence[int]
    seat: int = 0

    def decode(self, start: int) -> tuple[int, dict[int, str], int]:
        """Decode the chunk of files from ``start``.

        Returns how many files it has, the unreadable rows with reasons, and how many files have several frames.
        """
        unreadable, several = {}, 0
        rows = range(start, min(start + CHUNK, len(self.files)))
        with pillow_rules():
            for row in rows:
                self.at[self.seat] = row
                try:
                    picture, more = decode(os.path.join(self.root, self.files[row]), self.rules)
                except UnreadableError as error:
                    unreadable[row] = str(error)
                    continue
                several += more
                if self.pixels is not None:
                    self.pixels[row] = picture
        self.at[self.seat] = NOTHING
        return len(rows), unreadable, several


def decode_all(part: Part, rules: Rules, store: Path | None, workers: int, timeout: float) -> tuple[dict[int, str], int]:
    """Decode a part into ``store``: the unreadable rows with reasons, and how many files have several frames.

    Raises:
        DataError: a process was killed, or reading a picture takes longer than ``timeout`` seconds.
    """
    unreadable: dict[int, str] = {}
    several = 0
    few = workers < 2 or len(part.files) <= FEW
    with progress(f"decoding {part.name}", len(part.files)) as advance:
        for number, bad, more in _here(part, rules, store, timeout) if few else _in_processes(part, rules, store, workers, timeout):
            advance(number)
            unreadable.update(bad)
            several += more
    return unreadable, several


def hangs(path: Path, timeout: float) -> DataError:
    """The error for a file that gave nothing for ``timeout`` seconds."""
    fix = f"data.timeout={2 * timeout:g} if its disk is slow, else remove it"
    return DataError(f"reading {path} gave nothing for {timeout:g} s", where="data.timeout", fix=fix)


def _here(part: Part, rules: Rules, store: Path | None, timeout: float) -> Iterator[tuple[int, dict[int, str], int]]:
    task = Task(str(part.root), part.files, rules, _map(store), [NOTHING])
    try:
        yield from in_time(map(task.decode, range(0, len(part.files), CHUNK)), lambda: task.at[0], timeout)
    except TimeoutError:
        raise hangs(part.root / part.files[task.at[0]], timeout) from None


def _in_processes(part: Part, rules: Rules, store: Path | None, workers: int, timeout: float) -> Iterator[tuple[int, dict[int, str], int]]:
    """What the processes give for every chunk of the part's files, in any order."""
    # A forked child runs Pillow and numpy alone, so it does not miss the parent's threads (torch's): Python's warning of that is off.
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    seats, hung = context.Value(ctypes.c_int64, 0), context.Value(ctypes.c_int64, NOTHING)
    at = context.Array(ctypes.c_int64, [NOTHING] * workers, lock=False)
    given = (Task(str(part.root), part.files, rules, None, at), store, seats, hung, timeout)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            futures = [pool.submit(_work, start) for start in range(0, len(part.files), CHUNK)]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        if hung.value != NOTHING:
            raise hangs(part.root / part.files[hung.value], timeout) from error
        reading = [str(part.root / part.files[row]) for row in at if row != NOTHING]
        what = f"a decoding process was killed{' while reading ' if reading else ''}{' or '.join(reading[:4])}"
        raise DataError(what, where="data folder", fix="data.workers=1 (less memory is needed)") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _map(store: Path | None) -> np.ndarray | None:
    return None if store is None else np.load(store, mmap_mode="r+", allow_pickle=False)


_TASK: list[Task] = []  # of a decoding process


def _begin(task: Task, store: Path | None, seats, hung, timeout: float) -> None:
    be_a_worker()
    with seats.get_lock():
        task.seat = seats.value
        seats.value += 1
    task.pixels = _map(store)
    _TASK.append(task)
    threading.Thread(target=_watch, args=(task, hung, Patience(timeout)), daemon=True).start()


def _watch(task: Task, hung, patience: Patience) -> None:
    """End this process when reading hangs, or with its parent: one that was killed cannot end its pool, which would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not multiprocessing.connection.wait([parent.sentinel], timeout=patience.pause):
        row = task.at[task.seat]
        if patience.is_over(None if row == NOTHING else row):
            hung.value = row
            break
    os._exit(1)


def _work(start: int) -> tuple[int, dict[int, str], int]:
    return _TASK[0].decode(start)
