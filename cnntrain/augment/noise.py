"""Gaussian noise on every pixel.

Sietsma, Dow, *Creating Artificial Neural Networks That Generalize*, 1991; equal in the limit to Tikhonov regularisation: Bishop,
*Training with Noise is Equivalent to Tikhonov Regularization*, 1995.
"""

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import NonNegative


class Noise:
    """Add independent normal noise of standard deviation ``std`` (in pixels from 0 to 1), then clip to [0, 1]."""

    def __init__(self, *, std: NonNegative = 0.05) -> None:
        self.std = std

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float (B, C, H, W) to the same shape; targets unchanged."""
        return draws.noise("noise", images.shape).mul_(self.std).add_(images).clamp_(0, 1), targets
