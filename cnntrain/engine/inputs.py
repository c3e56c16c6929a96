"""From the picture to what the network sees, and the training batches in their order."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from cnntrain.draws import Draws
from cnntrain.engine.clock import Clock


class Split(Protocol):
    """The engine's view of a part of a data set (see ``cnntrain/data``)."""

    labels: Tensor

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def fetch(self, orders: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images, labels and index of every batch of ``orders``, in that order."""
        ...


class Normalise:
    """Pixels, uint8 (B,C,H,W) or float in [0,1], to ``(x − mean) / std`` per channel: float32, on the device."""

    def __init__(self, mean: list[float], std: list[float], *, device: torch.device, memory_format: torch.memory_format) -> None:
        self.device, self.memory_format = device, memory_format
        centre, spread = (torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1) for values in (mean, std))
        # x / (255·std) − mean/std: dividing bytes by 255 costs nothing when it is folded in.
        self._scale = {True: (1 / (255 * spread)).float().to(device), False: (1 / spread).float().to(device)}
        self._offset = (-centre / spread).float().to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised pixels in the model's memory format."""
        scale = self._scale[images.dtype == torch.uint8]
        images = images.to(self.device, torch.float32, non_blocking=True, memory_format=self.memory_format)
        return torch.addcmul(self._offset, images, scale)


class TrainBatches:
    """The training set in batches: the order of an epoch is a function of seed and epoch alone."""

    def __init__(self, split: Split, clock: Clock, draws: Draws) -> None:
        self.split, self.clock, self.draws = split, clock, draws

    def epoch(self, epoch: int, *, step: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images uint8 (B,C,H,W), labels (B,) and index (B,) of each step from ``step`` to the epoch's end."""
        order = self.draws.permutation(epoch)
        size, first = self.clock.batch_size, self.clock.start(epoch)
        return self.split.fetch(order[i * size : (i + 1) * size] for i in range(step - first, self.clock.stop(epoch) - first))
