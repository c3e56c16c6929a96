"""Horizontal mirror, at random or every other time.

At random: Krizhevsky, Sutskever, Hinton, *ImageNet Classification with Deep CNNs*, 2012, section 4.1. Alternating: Jordan, *94% on
CIFAR-10 in 3.29 Seconds on a Single GPU*, 2024, arXiv 2404.00498, section 3.6: two epochs in a row always show a picture both ways.
"""

from typing import Literal

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Fraction

_INTEGER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a pixel


class Flip:
    """Mirror each picture left to right with probability ``p``: in every epoch (``random``), or in the first and then in every other.

    ``alternating`` draws once for each picture: the share ``p`` is mirrored in epochs 0, 2, 4 …, the others in epochs 1, 3, 5 ….
    """

    exact_on_bytes = samplewise = True

    def __init__(self, *, p: Fraction = 0.5, mode: Literal["random", "alternating"] = "random") -> None:
        self.p, self.mode = p, mode

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, H, W) of any dtype to the same shape; targets unchanged."""
        # Choosing by bits, a ^ ((a ^ b) & mask), is vectorised for every dtype; torch.where on bytes is not, and takes 2 to 4 times longer
        pixels = as_integers(images)
        chosen = self._chosen(draws).to(pixels.dtype).neg_()[:, :, None, None]  # (B, 1, 1, 1): all bits or none
        result = pixels.flip(3).bitwise_xor_(pixels).bitwise_and_(chosen).bitwise_xor_(pixels)
        return result.view(images.dtype), targets

    def _chosen(self, draws: BatchDraws) -> torch.Tensor:
        """Which pictures are mirrored: bool (B, 1)."""
        if self.mode == "random":
            return draws.uniform("flip") < self.p
        chosen = draws.once("flip") < self.p
        return ~chosen if draws.epoch % 2 else chosen


def as_integers(images: torch.Tensor) -> torch.Tensor:
    """The same bits, contiguous, as integers of the pixels' size, which can be chosen and masked by bits."""
    return images.contiguous().view(_INTEGER[images.element_size()])
