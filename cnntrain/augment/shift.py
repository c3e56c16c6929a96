"""Random translation by whole pixels, as in the distorted training sets for LeNet-5.

LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section III-C (its translations are part of an affine
distortion). Against :mod:`cnntrain.augment.crop`, which is the same movement, the uncovered border may repeat the picture's edge.
"""

from typing import Literal

import torch
import torch.nn.functional as F

from cnntrain.augment.crop import move, window
from cnntrain.draws import BatchDraws
from cnntrain.units import Size


class Shift:
    """Move each picture by -pixels ... +pixels along both axes, all (2 * pixels + 1)² movements equally likely."""

    exact_on_bytes = samplewise = True

    def __init__(self, *, pixels: Size = 2, fill: Literal["zeros", "edge"] = "zeros") -> None:
        self.pixels, self.fill = pixels, fill

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, H, W) of any dtype to the same shape; targets unchanged."""
        uniform = draws.uniform("shift", 2)
        if self.fill == "zeros":
            return move(images, self.pixels, uniform), targets
        return window(F.pad(images, (self.pixels,) * 4, mode="replicate"), 2 * self.pixels, uniform), targets
