"""A part whose pictures do not fit in memory: worker processes read, decode and resize them, and do nothing else.

The same samples in the same order as a resident part: workers draw no random number, and the loader has a generator of its own (its
iterator would move the global one otherwise). Broken, killed and hanging workers end in a DataError that names the picture.
"""

import copy
import errno
import multiprocessing
import multiprocessing.queues
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from cnntrain.data.arrival import arriving
from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules
from cnntrain.data.decoding import hangs
from cnntrain.data.names import Names
from cnntrain.data.patience import Patience, in_time
from cnntrain.data.storage import be_a_worker, end_with
from cnntrain.errors import DataError


@dataclass(frozen=True)
class Broken:
    """What a worker gives in place of a batch: which picture could not be read, and why."""

    row: int
    reason: str


class Pictures:
    """The files, as a data set of batches: a list of rows in, (uint8 (B, C, S, S), rows (B,)) or Broken out. Sent to the workers.

    ``stamps``: size and time that each file had when it was listed, uint64 (N, 2). ``reading``: the process id of each worker and the row
    it is at, int64 (workers, 2), in shared memory, to tell a hang or a kill by name.
    """

    def __init__(self, root: Path, names: Names, stamps: np.ndarray, rules: Rules, reading: Tensor) -> None:
        self.root, self.names, self.stamps, self.rules, self.reading = str(root), names, stamps, rules, reading

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor] | Broken:
        size = self.rules.image_size
        batch = np.empty((len(rows), self.rules.channels, size, size), dtype=np.uint8)
        worker = get_worker_info()
        with pillow_rules():
            for place, row in enumerate(rows):
                self.reading[worker.id if worker else 0] = torch.tensor([os.getpid(), row])
                size_and_time = int(self.stamps[row, 0]), int(self.stamps[row, 1])
                try:
                    batch[place], _ = decode(os.path.join(self.root, self.names[row]), self.rules, listed=size_and_time)
                except UnreadableError as error:
                    return Broken(row, str(error))
                except Exception as error:  # as of a worker so of this process: it is told with the picture that it met
                    return Broken(row, f"{type(error).__name__}: {error}")
        made = torch.from_numpy(batch), torch.tensor(rows, dtype=torch.int64)
        return made if worker is None else tuple(tensor.share_memory_() for tensor in made)  # here, where a want of it is raised


def _as_is(batch: object) -> object:
    return batch


# Whoever ends a run often signals its whole group, and the run needs its data to the end of the step: workers take none of these.
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


def _begin(worker: int) -> None:
    be_a_worker()
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    for name in ("SIGSEGV", "SIGBUS"):
        if hasattr(signal, name):  # torch's own handlers write to the terminal, with a zero byte; the main process says it in words
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_leave)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid, signal.SIGKILL)  # a picture that hangs would keep it for ever


def _leave(error: Exception, batch: object) -> None:
    """End a worker whose batch cannot be sent: Python would print a traceback and lose it, and the run would wait for it."""
    print(f"a data worker cannot send its batch: {error}", file=sys.stderr, flush=True)
    os._exit(1)


class StreamedSplit:
    """Pictures read anew for every batch; the interface of :class:`cnntrain.data.split.Split`."""

    resident = False

    def __init__(
        self,
        root: Path,
        names: Names,
        labels: Tensor,
        stamps: np.ndarray,
        *,
        rules: Rules,
        workers: int,
        timeout: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.root, self.names, self.labels, self.stamps, self.rules = root, names, labels, stamps, rules
        self.workers, self.timeout, self.device = workers, timeout, torch.device(device)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> "StreamedSplit":
        """The samples ``index`` (N,) as a part of their own."""
        return self._with(self.names.subset(index), self.labels[index], self.stamps[index.numpy()], self.device)

    def to(self, device: torch.device | str) -> "StreamedSplit":
        """The same part for batches on ``device``."""
        labels = self.labels.to(device)  # they are few: all of them go there at once
        return self._with(self.names, labels, self.stamps, torch.device(device))

    def _with(self, names: Names, labels: Tensor, stamps: np.ndarray, device: torch.device) -> "StreamedSplit":
        part = copy.copy(self)
        part.names, part.labels, part.stamps, part.device = names, labels, stamps, device
        return part

    def fetch(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each index tensor (B,): uint8 pictures (B, C, H, W), int64 labels (B,) and the index (B,), on this part's device.

        Raises:
            DataError: a picture cannot be read, or a worker was killed or hangs; the message names the picture.
        """
        for images, index in arriving(self._read(orders), self.device):
            yield images, self.labels.index_select(0, index), index

    def _read(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures and index of each batch on the host."""
        lists = (order.tolist() for order in orders)
        for found in self._in_workers(lists) if self.workers else self._here(lists):
            if isinstance(found, Broken):
                raise DataError(
                    f"{self.root / self.names[found.row]} cannot be read: {found.reason}",
                    where="data folder",
                    fix="mend it and resume; data.on_error=skip leaves such files out of a new run",
                )
            yield found

    def _here(self, lists: Iterator[list[int]]) -> Iterator[tuple[Tensor, Tensor] | Broken]:
        reading = torch.full((1, 2), -1, dtype=torch.int64)
        pictures = Pictures(self.root, self.names, self.stamps, self.rules, reading)
        try:
            yield from in_time(map(pictures.__getitems__, lists), lambda: int(reading[0, 1]), self.timeout)
        except TimeoutError:
            raise hangs(self.root / self.names[int(reading[0, 1])], self.timeout) from None

    def _in_workers(self, lists: Iterator[list[int]]) -> Iterator[tuple[Tensor, Tensor] | Broken]:
        batches, workers, others = None, set(), set(multiprocessing.active_children())
        reading = None
        done = 0
        try:
            reading = torch.full((self.workers, 2), -1, dtype=torch.int64).share_memory_()
            batches = self._start(lists, reading)
            workers = set(multiprocessing.active_children()) - others
            while True:
                with _watching(workers):
                    batch = self._next(batches, reading, done % self.workers)
                if batch is None:
                    return
                yield batch
                done += 1
        except (RuntimeError, OSError) as error:
            workers = workers or set(multiprocessing.active_children()) - others  # those that had been started when another could not
            unasked = "exited unexpectedly" in str(error)  # one that ends by itself, if by code 0, is no less dead
            dead = {worker.pid: worker.exitcode for worker in workers if worker.exitcode not in (None, *([] if unasked else [0]))}
            raise self._explain(error, dead, reading) from error
        finally:
            for worker in workers:  # at an epoch's end they have gone; before that they may be in the midst of a picture, or hang
                worker.kill()
            del batches

    def _next(self, batches: Iterator, reading: Tensor, due: int) -> tuple[Tensor, Tensor] | Broken | None:
        """The next batch, None at the end. The loader asks every little while whether the worker that is ``due`` still moves."""
        patience = Patience(self.timeout)
        while True:
            try:
                return next(batches, None)
            except RuntimeError as error:
                if "timed out" not in str(error):
                    raise
            row = int(reading[due, 1])  # batches come back in order and were dealt to the workers in turn
            if patience.is_over(row):
                raise TimeoutError(row)

    def _explain(self, error: Exception, dead: dict[int, int], reading: Tensor | None) -> DataError:
        """Say what has become of the workers, of which ``dead`` are process ids and exit codes."""
        if isinstance(error, TimeoutError) and error.args[0] >= 0:
            return hangs(self.root / self.names[error.args[0]], self.timeout)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC or "No space left" in str(error)
        if dead:
            pid, code = max(dead.items(), key=lambda item: item[1] != 0)
            row = next((row for worker, row in reading.tolist() if worker == pid), -1) if reading is not None else -1
            what = f"a data worker ended with code {code}" + (f" while reading {self.root / self.names[row]}" if row >= 0 else "")
            full = -code == getattr(signal, "SIGBUS", None)
        else:
            what = "data workers cannot run" + ("" if full else f": {str(error).splitlines()[-1]}")
        what += ": /dev/shm, their memory for sharing, is full" if full else ""
        return DataError(what, where="data folder", fix="data.workers=0 (reads in the main process, needs least memory)")

    def _start(self, lists: Iterator[list[int]], reading: Tensor) -> Iterator:
        loader = DataLoader(
            Pictures(self.root, self.names, self.stamps, self.rules, reading),
            batch_sampler=lists,
            num_workers=self.workers,
            collate_fn=_as_is,
            worker_init_fn=_begin,
            pin_memory=self.device.type == "cuda",
            timeout=Patience(self.timeout).pause,
            generator=torch.Generator(),
            multiprocessing_context="fork" if "fork" in multiprocessing.get_all_start_methods() else None,
        )
        # torch's iterator sets a handler that raises wherever the main thread happens to be when a worker dies; _watching takes its place.
        with _handling_deaths(None), _unsignalled(), warnings.catch_warnings():
            # The children run Pillow and numpy alone, so threads of the parent that they lack cannot matter.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            return iter(loader)


@contextmanager
def _unsignalled() -> Iterator[None]:
    """No signal that ends the run is taken within the block, but after it; processes that begin here inherit that, up to :func:`_begin`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _watching(workers: set[multiprocessing.process.BaseProcess]) -> Iterator[None]:
    """While the block waits for a batch, the death of a worker ends it at once by a RuntimeError."""

    def look(*signal_and_frame: object) -> None:
        for worker in workers:
            if worker.exitcode not in (None, 0):  # 0: the loader has let it go, at the end
                raise RuntimeError(f"worker {worker.pid} ended with code {worker.exitcode}")

    with _handling_deaths(look):
        look()
        yield


@contextmanager
def _handling_deaths(handler: Callable[..., None] | None) -> Iterator[None]:
    """Put back what handles a child's death now after the block, which ``handler`` does within it (None: no change at first)."""
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)
