"""CutMix: a box of each picture is replaced by the same box of another, and the targets are mixed by area.

Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features*, 2019, arXiv 1905.04899. With
λ ~ Beta(α, α), the box has sides W·√(1 - λ) and H·√(1 - λ) about a centre that is uniform over the picture; it is clipped at the border,
and λ is then set to the share of pixels that are really kept. One box and one permutation serve the whole batch.
"""

import math

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Fraction, Positive


class CutMix:
    """Paste a partner's box into each picture, in a share ``p`` of the batches."""

    exact_on_bytes = True

    def __init__(self, *, alpha: Positive = 1.0, p: Fraction = 0.5) -> None:
        self.alpha, self.p = alpha, p

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, H, W) of any dtype and targets (B, K) to the same shapes."""
        draw = draws.batch("cutmix")
        if draw.random() >= self.p:
            return images, targets
        height, width = images.shape[-2:]
        side = math.sqrt(1 - draw.beta(self.alpha, self.alpha))
        top, bottom = _interval(draw.integers(height), round(height * side), height)
        left, right = _interval(draw.integers(width), round(width * side), width)
        partner = draws.partners(draw)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        return mixed, torch.lerp(targets[partner], targets, kept)


def _interval(centre: int, length: int, limit: int) -> tuple[int, int]:
    """First place and the one behind the last of an interval of ``length`` about ``centre``, clipped to 0 ... ``limit``."""
    start = int(centre) - length // 2
    return max(0, start), min(limit, start + length)
