"""Batches on their way from the host to the device. On CUDA each is copied while the step before it runs."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from cnntrain.draws import send

Batch = tuple[Tensor, ...]


def arriving(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on ``device``, in their order, from one that is read one batch ahead on CUDA."""
    if device.type == "cuda":
        yield from one_ahead(batches, _CopyStream(device))
    else:
        for batch in batches:
            yield tuple(send(tensor, device) for tensor in batch)


class Lane(Protocol):
    """A way to the device: what is sent at once can be received later."""

    def send(self, batch: Batch) -> Any:
        """Begin to copy; returns what :meth:`receive` needs."""
        ...

    def receive(self, sent: Any) -> Batch:
        """The batch on the device."""
        ...


def one_ahead(batches: Iterable[Batch], lane: Lane) -> Iterator[Batch]:
    """The same batches as they arrive; when one is handed out, the next one is already under way."""
    before = None
    for batch in batches:
        sent = lane.send(batch)
        if before is not None:
            yield lane.receive(before)
        before = sent
    if before is not None:
        yield lane.receive(before)


class _CopyStream:
    """A CUDA stream for copies alone: they run beside the kernels of the stream that trains, and neither makes the host wait."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def send(self, batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(self.stream):
            return tuple(send(tensor, self.device) for tensor in batch), self.stream.record_event()

    def receive(self, sent: tuple[Batch, torch.cuda.Event]) -> Batch:
        batch, copied = sent
        training = torch.cuda.current_stream(self.device)
        training.wait_event(copied)  # the device waits there, the host does not
        for tensor in batch:
            tensor.record_stream(training)  # else its memory could be given to the next copy while a kernel still reads it
        return batch
