"""Keyed random numbers: every draw is a function of its position, never of history.

An epoch's order is f(seed, epoch); what an augmentation draws for a sample is f(seed, epoch, operation, sample index), or, once for the
whole run, f(seed, operation, sample index); what it draws for a whole batch is f(seed, step, operation). So neither workers,
prefetching nor the point of resuming can change a result.
"""

import hashlib

import numpy as np
import torch


def key(*parts: object) -> int:
    """A 63-bit number from any words and numbers, the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`key` of the parts."""
    return torch.Generator().manual_seed(key(*parts))


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A host tensor on ``device``. A CUDA device takes it from pinned memory when it comes to it, so that the host need not wait."""
    if device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()  # the same tensor, if it is so already
    return tensor.to(device, non_blocking=True)


class Draws:
    """The random numbers of one run over a training set of ``size`` samples."""

    def __init__(self, seed: int, size: int, device: torch.device | str = "cpu") -> None:
        self.seed, self.size, self.device = seed, size, torch.device(device)
        self._epoch = -1
        self._tables: dict[tuple[str, str, int], torch.Tensor] = {}
        self._once: dict[tuple[str, int], torch.Tensor] = {}

    def permutation(self, epoch: int) -> torch.Tensor:
        """The order of the samples in an epoch: int64 (N,) on the CPU, pinned if the device is CUDA: a step sends its part there."""
        order = torch.randperm(self.size, generator=generator(self.seed, "order", epoch))
        return order.pin_memory() if self.device.type == "cuda" else order

    def at(self, epoch: int, step: int | None, index: torch.Tensor) -> "BatchDraws":
        """The draws of one batch, whose samples are ``index`` (B,). Without a step, they are samples of several batches."""
        if epoch != self._epoch:
            self._epoch, self._tables = epoch, {}
        return BatchDraws(self, epoch, step, index)

    def table(self, kind: str, operation: str, columns: int) -> torch.Tensor:
        """The epoch's table of one operation: float32 (N, columns) on the device, made once an epoch."""
        name = (kind, operation, columns)
        if name not in self._tables:
            source = generator(self.seed, "sample", kind, operation, columns, self._epoch)
            make = torch.rand if kind == "uniform" else torch.randn
            self._tables[name] = send(make(self.size, columns, generator=source), self.device)
        return self._tables[name]

    def table_once(self, operation: str, columns: int) -> torch.Tensor:
        """The run's one table of an operation: float32 (N, columns), uniform, on the device, the same in every epoch."""
        name = (operation, columns)
        if name not in self._once:
            source = generator(self.seed, "once", operation, columns)
            self._once[name] = send(torch.rand(self.size, columns, generator=source), self.device)
        return self._once[name]


class BatchDraws:
    """What an augmentation may draw for one batch of an ``epoch``, at a ``step``. ``operation`` is the operation's own name, its key."""

    def __init__(self, draws: Draws, epoch: int, step: int | None, index: torch.Tensor) -> None:
        self._draws, self._step, self._index = draws, step, index
        self.epoch = epoch

    @property
    def step(self) -> int:
        """The step that the batch is for: what draws for samples alone may not ask, since it may be given several batches at once."""
        assert self._step is not None, "an operation that is samplewise asks for the step"
        return self._step

    def uniform(self, operation: str, columns: int = 1) -> torch.Tensor:
        """Uniform numbers in [0, 1), one row a sample: float32 (B, columns)."""
        return self._draws.table("uniform", operation, columns).index_select(0, self._index)

    def once(self, operation: str, columns: int = 1) -> torch.Tensor:
        """As :meth:`uniform`, but a sample's row is the same in every epoch."""
        return self._draws.table_once(operation, columns).index_select(0, self._index)

    def normal(self, operation: str, columns: int = 1) -> torch.Tensor:
        """Standard normal numbers, one row a sample: float32 (B, columns)."""
        return self._draws.table("normal", operation, columns).index_select(0, self._index)

    def batch(self, operation: str) -> np.random.Generator:
        """A host generator for draws that the whole batch shares (mixup's partner and share)."""
        return np.random.default_rng(key(self._draws.seed, "batch", operation, self.step))

    def partners(self, draw: np.random.Generator) -> torch.Tensor:
        """A permutation of the batch, from its host generator, on the batch's device: int64 (B,)."""
        return send(torch.from_numpy(draw.permutation(len(self._index))), self._index.device)

    def noise(self, operation: str, shape: torch.Size) -> torch.Tensor:
        """Standard normal noise of a batch's shape (B, ...), from an integer hash of position: float32."""
        each = int(np.prod(shape[1:]))
        base = key(self._draws.seed, "noise", operation, self.epoch) & 0x7FFFFFFF
        sample = (self._index.to(torch.int64)[:, None] * 2 + 1) * 0x9E3779B1 + base
        first = _hash(sample * 0x85EBCA6B + torch.arange(each, device=self._index.device) * 2)
        second = _hash(sample * 0x85EBCA6B + torch.arange(each, device=self._index.device) * 2 + 1)
        # Box and Muller (1958): two uniforms, the first kept off zero, make a normal.
        radius = torch.sqrt(-2 * torch.log((first.to(torch.float32) + 1) / 2**24))
        return (radius * torch.cos(second.to(torch.float32) * (2 * np.pi / 2**24))).reshape(shape)


def _hash(x: torch.Tensor) -> torch.Tensor:
    """A 24-bit hash of int64 numbers, by multiply and shift in 32 bits (the mixer of MurmurHash3, Appleby 2008)."""
    x = x & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return (x ^ (x >> 16)) & 0xFFFFFF
