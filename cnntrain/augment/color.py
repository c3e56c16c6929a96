"""Colour jitter: brightness, contrast, saturation and hue of each picture, changed at random.

Howard, *Some Improvements on Deep CNN Based Image Classification*, 2013, arXiv 1312.5402, section 2.2; the ranges and formulas are those
of torchvision's ``ColorJitter``, with one deviation: the four changes come in that fixed order, not in a random one, so that the whole
batch goes through the same tensor operations.
"""

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Fraction, NonNegative

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, with torchvision's digits


class Color:
    """Factors are uniform in max(0, 1 - x) ... 1 + x, the hue's turn in -hue ... +hue of the colour circle.

    Saturation and hue leave grey pictures as they are: they need the three channels red, green and blue.
    """

    def __init__(
        self, *, brightness: NonNegative = 0.2, contrast: NonNegative = 0.2, saturation: NonNegative = 0.2, hue: Fraction = 0.0
    ) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float (B, C, H, W) to the same shape; targets unchanged."""
        colored = images.shape[1] == 3
        uniform = draws.uniform("color", 4).to(images.dtype)[:, :, None, None, None]  # (B, 4, 1, 1, 1)
        if self.brightness:
            images = (images * _factor(uniform[:, 0], self.brightness)).clamp_(0, 1)
        if self.contrast:
            mean = (luma(images) if colored else images).mean((1, 2, 3), keepdim=True)
            images = _blend(images, mean, _factor(uniform[:, 1], self.contrast))
        if self.saturation and colored:
            images = _blend(images, luma(images), _factor(uniform[:, 2], self.saturation))
        if self.hue and colored:
            images = turn_hue(images, (uniform[:, 3] * 2 - 1) * self.hue)
        return images, targets


def luma(images: torch.Tensor) -> torch.Tensor:
    """The grey picture (B, 1, H, W) of a coloured one (B, 3, H, W)."""
    red, green, blue = images.split(1, dim=1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def turn_hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, H, W) in [0, 1] with every hue moved by ``turns`` (B, 1, 1, 1), where 1 is once round the circle.

    To hue, saturation and value (Smith, *Color Gamut Transform Pairs*, 1978), and back by the closed form
    ``channel(n) = v - v·s·max(0, min(k, 4 - k, 1))`` with ``k = (n + 6·h) mod 6`` and n = 5, 3, 1 for red, green and blue.
    """
    red, green, blue = images.split(1, dim=1)
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)  # v·s
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red, (green - blue) / safe, torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )  # (B, 1, H, W) in sixths of the circle
    offset = torch.arange(5, 0, -2, dtype=images.dtype, device=images.device).reshape(1, 3, 1, 1)  # 5, 3, 1: made there, no copy that waits
    sector = (offset + hue + 6 * turns).remainder_(6)
    return value - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1)


def _factor(uniform: torch.Tensor, strength: float) -> torch.Tensor:
    """Numbers in [0, 1) to max(0, 1 - strength) ... 1 + strength."""
    low = max(0.0, 1 - strength)
    return low + uniform * (1 + strength - low)


def _blend(images: torch.Tensor, other: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """``share`` of the images and the rest of the other; a share over 1 moves away from the other."""
    return torch.lerp(other, images, share).clamp_(0, 1)
