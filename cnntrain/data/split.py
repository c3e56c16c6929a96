"""A part of a data set (train, val or test) whose pictures lie decoded in memory, and batches gathered from it by index.

The pixels are one uint8 tensor, or a copy-on-write memory map of a cache file: then the system reads only the pages that a batch
touches. A part that is a selection of a set (train after the validation part is held out) shares the set's pixels and keeps row numbers.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from cnntrain.data.arrival import arriving
from cnntrain.data.names import Names
from cnntrain.draws import send

DEVICE_SHARE = 0.5  # of the device's free memory that pixels may take; the rest belongs to the model


class Split:
    """Pictures in memory: ``images`` uint8 (M, C, H, W), of which ``rows`` (N,) belong to this part (None: all, in order)."""

    resident = True

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        rows: Tensor | None = None,
        names: Names | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.images, self.labels, self.rows, self.names = images, labels, rows, names
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a picture."""
        return self.images[0].numel()

    def fetch(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each index tensor (B,): uint8 pictures (B, C, H, W), int64 labels (B,) and the index (B,), on this part's device."""
        if self.images.device.type != self.device.type:  # the pixels stay on the host: each batch goes to the device
            for images, index in arriving(self._gathered(orders), self.device):
                yield images, self.labels.index_select(0, index), index
            return
        for order in orders:
            index = send(order, self.images.device)
            # index_select copies whole rows: an order of magnitude faster on uint8 than images[order].
            images = self.images.index_select(0, index if self.rows is None else self.rows.index_select(0, index))
            yield images, self.labels.index_select(0, index), index

    def _gathered(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures and index of each batch on the host; for CUDA in pinned memory, from which the device copies by itself."""
        for order in orders:
            images = torch.empty((len(order), *self.images.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
            yield torch.index_select(self.images, 0, order if self.rows is None else self.rows[order], out=images), order

    def subset(self, index: Tensor) -> "Split":
        """The samples ``index`` (N,) as a part of their own that shares these pixels."""
        rows = index if self.rows is None else self.rows[index]
        names = None if self.names is None else self.names.subset(index)
        return Split(self.images, self.labels[index], rows=rows, names=names, device=self.device)

    def to(self, device: torch.device | str) -> "Split":
        """The same part for batches on ``device``: its own pixels move there if they fit, else each batch does."""
        device = torch.device(device)
        if device == self.device:
            return self
        labels = self.labels.to(device)
        if not self._fits(device):
            return Split(self.images, labels, rows=self.rows, names=self.names, device=device)
        images = self.images if self.rows is None else self.images.index_select(0, self.rows)
        return Split(images.to(device), labels, names=self.names, device=device)

    def _fits(self, device: torch.device) -> bool:
        if device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(device)
        return len(self) * self.images[0].numel() <= DEVICE_SHARE * free
