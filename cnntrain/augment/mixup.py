"""Mixup: training on straight lines between two samples.

Zhang, Cisse, Dauphin, Lopez-Paz, *mixup: Beyond Empirical Risk Minimization*, 2018, arXiv 1710.09412. As in the authors' code one
share λ ~ Beta(α, α) serves the whole batch, and the partners are a permutation of it.
"""

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Positive


class Mixup:
    """λ·x + (1 - λ)·x' and λ·t + (1 - λ)·t' of each sample and its partner."""

    def __init__(self, *, alpha: Positive = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float (B, C, H, W) and targets (B, K) to the same shapes."""
        draw = draws.batch("mixup")
        share = float(draw.beta(self.alpha, self.alpha))
        partner = draws.partners(draw)
        return torch.lerp(images[partner], images, share), torch.lerp(targets[partner], targets, share)
