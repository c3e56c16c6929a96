"""Cutout: a square of each picture is blanked.

DeVries, Taylor, *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017, arXiv 1708.04552. The square's centre is
uniform over all pixels, so part of it may lie outside, which the paper found important. Deviations: the square is exactly ``size``
pixels wide for odd sizes too (the authors' code cuts size - 1), and it works on pictures in [0, 1] before the normalisation, where the
paper blanks with 0 after it; ``fill: mean`` comes near to that.
"""

from typing import Literal

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Count


class Cutout:
    """Blank a square of ``size`` pixels with black, or with the picture's own mean colour."""

    samplewise = True

    def __init__(self, *, size: Count = 16, fill: Literal["zero", "mean"] = "zero") -> None:
        self.size, self.fill = size, fill
        self.exact_on_bytes = fill == "zero"  # a mean is not a whole number

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, H, W) to the same shape, any dtype for ``zero`` and float for ``mean``; targets unchanged."""
        height, width = images.shape[-2:]
        uniform = draws.uniform("cutout", 2)
        rows, columns = self._kept(uniform[:, :1], height), self._kept(uniform[:, 1:], width)  # (B, H), (B, W)
        kept = (rows[:, :, None] | columns[:, None, :])[:, None]  # (B, 1, H, W)
        if self.fill == "zero":
            return images * kept, targets
        return torch.where(kept, images, images.mean((2, 3), keepdim=True)), targets

    def _kept(self, uniform: torch.Tensor, length: int) -> torch.Tensor:
        """Which of the places along one axis lie outside the square: bool (B, length)."""
        start = (uniform * length).long() - self.size // 2
        distance = torch.arange(length, device=uniform.device) - start
        return (distance < 0) | (distance >= self.size)
