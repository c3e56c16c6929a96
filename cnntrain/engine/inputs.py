"""From the picture to what the network sees, and the training batches in their order."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cnntrain.draws import Draws
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.clock import Clock

# Bytes of pictures that are gathered and augmented at once: what a core's cache holds; on an accelerator, where starting an operation is
# what costs, far more.
AHEAD_BYTES = {"cpu": 2**20, "cuda": 2**26, "mps": 2**26}


class Split(Protocol):
    """The engine's view of a part of a data set (see ``cnntrain/data``)."""

    labels: Tensor

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def fetch(self, orders: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images, labels and index of every batch of ``orders``, in that order."""
        ...


class TrainSplit(Split, Protocol):
    """What training asks beside that."""

    resident: bool  # in memory, so that a batch costs nothing but its copy
    names: Sequence[str] | None  # of the samples' files, where they have some

    @property
    def sample_bytes(self) -> int:
        """Bytes of a decoded picture; only a part in memory is asked for them."""
        ...


class Normalise:
    """Pixels, uint8 (B,C,H,W) or float in [0,1], to ``(x − mean) / std`` per channel: float32, on the device."""

    def __init__(self, mean: list[float], std: list[float], *, device: torch.device, memory_format: torch.memory_format) -> None:
        self.device, self.memory_format = device, memory_format
        centre, spread = (torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1) for values in (mean, std))
        # x / (255·std) − mean/std: dividing bytes by 255 costs nothing when it is folded in.
        self._scale = {True: (1 / (255 * spread)).float(), False: (1 / spread).float()}
        self._offset = (-centre / spread).float()
        self._spread: dict[tuple[bool, torch.Size], tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised pixels in the model's memory format."""
        scale, offset = self._constants(images.dtype == torch.uint8, images.shape[1:])
        images = images.to(self.device, torch.float32, non_blocking=True, memory_format=self.memory_format)
        return torch.addcmul(offset, images, scale)

    def _constants(self, are_bytes: bool, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Scale and offset of every pixel, (1,C,H,W) on the device: a CPU multiplies whole pictures five times as fast as channels."""
        if (are_bytes, shape) not in self._spread:
            whole = [values.expand(1, *shape) for values in (self._scale[are_bytes], self._offset)]
            placed = [values.to(self.device).contiguous(memory_format=self.memory_format) for values in whole]
            self._spread[are_bytes, shape] = placed[0], placed[1]
        return self._spread[are_bytes, shape]


class TrainBatches:
    """The training set in batches: the order of an epoch is a function of seed and epoch alone.

    Pictures in memory are gathered and augmented for several batches at once, as far as ``augmentation`` can: a step of a small network
    takes about as long as starting some hundred tensor operations.
    """

    def __init__(self, split: TrainSplit, clock: Clock, draws: Draws, augmentation: Augmentation) -> None:
        self.split, self.clock, self.draws, self.augmentation = split, clock, draws, augmentation

    def epoch(self, epoch: int, *, step: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images uint8 (B,C,H,W), labels (B,) and index (B,) of each step from ``step`` to the epoch's end."""
        size, first = self.clock.batch_size, self.clock.start(epoch)
        order = self.draws.permutation(epoch)[(step - first) * size : (self.clock.stop(epoch) - first) * size]
        together = size * self._batches_at_once()
        for images, labels, index in self.split.fetch(order[start : start + together] for start in range(0, len(order), together)):
            images = self.augmentation.ahead(images, self.draws.at(epoch, None, index))
            yield from zip(images.split(size), labels.split(size), index.split(size), strict=True)

    def samples(self, step: int) -> list[str]:
        """What the samples of a step are called: their files' names, or else their numbers within the training part."""
        size, epoch = self.clock.batch_size, step // self.clock.steps_per_epoch
        first = (step - self.clock.start(epoch)) * size
        index = self.draws.permutation(epoch)[first : first + size].tolist()
        return [str(row) if self.split.names is None else self.split.names[row] for row in index]

    def _batches_at_once(self) -> int:
        """One at a time where they come from files."""
        if not self.split.resident:
            return 1
        return max(1, AHEAD_BYTES.get(self.draws.device.type, 0) // (self.clock.batch_size * self.split.sample_bytes))
