"""The chosen augmentations in their order, each on the cheapest kind of pixel that it is exact on."""

from collections.abc import Callable

from torch import Tensor

from cnntrain.draws import BatchDraws

Operation = Callable[[Tensor, Tensor, BatchDraws], tuple[Tensor, Tensor]]


class Augmentation:
    """The operations of ``cnntrain/augment``, applied one after the other.

    Those at the head of the list that are ``exact_on_bytes`` work on uint8, a quarter of float's memory traffic. The pictures become
    float32 in [0, 1] when the first other operation needs it, and stay so; without one they stay bytes to the end, and the division
    by 255 is folded into the normalisation.
    """

    def __init__(self, operations: list[Operation]) -> None:
        exact = [getattr(operation, "exact_on_bytes", False) for operation in operations]
        leading = exact.index(False) if False in exact else len(operations)
        self._on_bytes, self._on_float = operations[:leading], operations[leading:]

    def __call__(self, images: Tensor, targets: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and targets (B, K) to uint8, or float32 in [0, 1], and targets."""
        for operation in self._on_bytes:
            images, targets = operation(images, targets, draws)
        if self._on_float:
            images = images.float().div_(255)
        for operation in self._on_float:
            images, targets = operation(images, targets, draws)
        return images, targets
