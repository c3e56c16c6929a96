"""A part whose pictures do not fit in memory: worker processes read, decode and resize them, and do nothing else.

The same samples in the same order as a resident part: workers draw no random number, and the loader has a generator of its own (its
iterator would move the global one otherwise). Broken, killed and hanging workers end in a DataError that names the picture.
"""

import multiprocessing
import os
import signal
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
from cnntrain.data.names import Names
from cnntrain.data.storage import be_a_worker
from cnntrain.errors import DataError


@dataclass(frozen=True)
class Broken:
    """What a worker gives in place of a batch: which picture could not be read, and why."""

    row: int
    reason: str


class Pictures:
    """The files, as a data set of batches: a list of rows in, (uint8 (B, C, S, S), rows (B,)) or Broken out. Sent to the workers."""

    def __init__(self, root: Path, names: Names, rules: Rules, reading: Tensor | None = None) -> None:
        self.root, self.names, self.rules = str(root), names, rules
        self.reading = reading  # shared, int64 (workers, 2): each one's process id and the row it is at, to tell a hang or a kill by name

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor] | Broken:
        size = self.rules.image_size
        batch = np.empty((len(rows), self.rules.channels, size, size), dtype=np.uint8)
        worker = get_worker_info()
        with pillow_rules():
            for place, row in enumerate(rows):
                if worker is not None and self.reading is not None:
                    self.reading[worker.id] = torch.tensor([os.getpid(), row])
                try:
                    batch[place], _ = decode(os.path.join(self.root, self.names[row]), self.rules)
                except UnreadableError as error:
                    return Broken(row, str(error))
        return torch.from_numpy(batch), torch.tensor(rows, dtype=torch.int64)


def _as_is(batch: object) -> object:
    return batch


def _begin(worker: int) -> None:
    be_a_worker()


class StreamedSplit:
    """Pictures read anew for every batch; the interface of :class:`cnntrain.data.split.Split`."""

    resident = False

    def __init__(
        self,
        root: Path,
        names: Names,
        labels: Tensor,
        *,
        rules: Rules,
        workers: int,
        timeout: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.root, self.names, self.labels, self.rules = root, names, labels, rules
        self.workers, self.timeout, self.device = workers, timeout, torch.device(device)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a decoded picture."""
        return self.rules.channels * self.rules.image_size**2

    def subset(self, index: Tensor) -> "StreamedSplit":
        """The samples ``index`` (N,) as a part of their own."""
        return self._with(self.names.subset(index), self.labels[index], self.device)

    def to(self, device: torch.device | str) -> "StreamedSplit":
        """The same part for batches on ``device``."""
        return self._with(self.names, self.labels.to(device), torch.device(device))  # labels are few: all of them go there at once

    def _with(self, names: Names, labels: Tensor, device: torch.device) -> "StreamedSplit":
        return StreamedSplit(self.root, names, labels, rules=self.rules, workers=self.workers, timeout=self.timeout, device=device)

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
        for found in self._in_workers(lists) if self.workers else map(Pictures(self.root, self.names, self.rules).__getitems__, lists):
            if isinstance(found, Broken):
                raise DataError(
                    f"{self.root / self.names[found.row]} can no longer be read: {found.reason}",
                    where="data folder",
                    fix="restore the file and resume; data.on_error=skip leaves out what is unreadable at the start",
                )
            yield found

    def _in_workers(self, lists: Iterator[list[int]]) -> Iterator[tuple[Tensor, Tensor] | Broken]:
        batches, workers = None, set()
        reading = None
        done = 0
        try:
            reading = torch.full((self.workers, 2), -1, dtype=torch.int64).share_memory_()
            others = set(multiprocessing.active_children())
            batches = self._start(lists, reading)
            workers = set(multiprocessing.active_children()) - others
            while True:
                with _watching(workers):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
                done += 1
        except (RuntimeError, OSError) as error:
            dead = {worker.pid: worker.exitcode for worker in workers if worker.exitcode not in (None, 0)}
            for worker in workers:  # one that hangs would outlive the error
                worker.terminate()
            raise self._explain(error, dead, reading, done) from error
        finally:
            del batches  # ends the workers

    def _explain(self, error: Exception, dead: dict[int, int], reading: Tensor | None, done: int) -> DataError:
        """Say what has become of the workers, of which ``dead`` are process ids and exit codes, after ``done`` batches."""
        fix = "data.workers=0 (reads in the main process, needs least memory)"
        at = [] if reading is None else reading.tolist()
        if dead:
            pid, code = next(iter(dead.items()))
            row = next((row for worker, row in at if worker == pid), -1)
            what = f"a data worker ended with code {code}"
        elif "timed out" in str(error):
            row = at[done % self.workers][1]  # batches come back in order and were dealt to the workers in turn
            what, fix = f"a data worker gave nothing for {self.timeout:g} s", "look at that file, or raise data.timeout"
        else:
            row, what = -1, f"data workers cannot run: {str(error).splitlines()[0]}"
        name = f" while reading {self.root / self.names[row]}" if row >= 0 else ""
        return DataError(what + name, where="data folder", fix=fix)

    def _start(self, lists: Iterator[list[int]], reading: Tensor) -> Iterator:
        loader = DataLoader(
            Pictures(self.root, self.names, self.rules, reading),
            batch_sampler=lists,
            num_workers=self.workers,
            collate_fn=_as_is,
            worker_init_fn=_begin,
            pin_memory=self.device.type == "cuda",
            timeout=self.timeout,
            generator=torch.Generator(),
            multiprocessing_context="fork" if "fork" in multiprocessing.get_all_start_methods() else None,
        )
        # torch's iterator sets a handler that raises wherever the main thread happens to be when a worker dies; _watching takes its place.
        with _handling_deaths(None), warnings.catch_warnings():
            # The children run Pillow and numpy alone, so threads of the parent that they lack cannot matter.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            return iter(loader)


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
