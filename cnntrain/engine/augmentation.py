"""The chosen augmentations in their order, each on the cheapest kind of pixel that it is exact on."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from cnntrain.draws import BatchDraws

Operation = Callable[[Tensor, Tensor | None, BatchDraws], tuple[Tensor, Any]]


class Augmentation:
    """The operations of ``cnntrain/augment``, applied one after the other.

    Those at the head of the list that are ``exact_on_bytes`` work on uint8, a quarter of float's memory traffic, and the first of these
    that are ``samplewise`` work ahead, on several batches at once (:meth:`ahead`, called by ``TrainBatches``). The pictures become float32
    in [0, 1] when the first other operation needs it, and stay so; without one they stay bytes to the end, and the division by 255 is
    folded into the normalisation.
    """

    def __init__(self, operations: list[Operation]) -> None:
        exact = _leading(operations, "exact_on_bytes")
        self._ahead = operations[: _leading(operations[:exact], "samplewise")]
        self._on_bytes, self._on_float = operations[len(self._ahead) : exact], operations[exact:]

    def ahead(self, images: Tensor, draws: BatchDraws) -> Tensor:
        """What can be done for any number of samples: uint8 (N, C, H, W) to the same."""
        for operation in self._ahead:
            images, _ = operation(images, None, draws)
        return images

    def __call__(self, images: Tensor, targets: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """The rest: images uint8 (B, C, H, W) and targets (B, K) to uint8, or float32 in [0, 1], and targets."""
        for operation in self._on_bytes:
            images, targets = operation(images, targets, draws)
        if self._on_float:
            images = images.float().div_(255)
        for operation in self._on_float:
            images, targets = operation(images, targets, draws)
        return images, targets


def _leading(operations: list[Operation], name: str) -> int:
    """How many at the head of the list have that attribute set."""
    return next((place for place, operation in enumerate(operations) if not getattr(operation, name, False)), len(operations))
