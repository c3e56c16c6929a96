"""Random horizontal mirror (Krizhevsky, Sutskever, Hinton, *ImageNet Classification with Deep CNNs*, 2012, section 4.1)."""

import torch

from cnntrain.draws import BatchDraws
from cnntrain.units import Fraction

_INTEGER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a pixel


class Flip:
    """Mirror each picture left to right with probability ``p``."""

    exact_on_bytes = True

    def __init__(self, *, p: Fraction = 0.5) -> None:
        self.p = p

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, H, W) of any dtype to the same shape; targets unchanged."""
        # Choosing by bits, a ^ ((a ^ b) & mask), is vectorised for every dtype; torch.where on bytes is not, and takes 2 to 4 times longer
        pixels = images.contiguous().view(_INTEGER[images.element_size()])  # read three times; a crop is not contiguous
        chosen = (draws.uniform("flip") < self.p).to(pixels.dtype).neg_()[:, :, None, None]  # (B, 1, 1, 1): all bits or none
        result = pixels.flip(3).bitwise_xor_(pixels).bitwise_and_(chosen).bitwise_xor_(pixels)
        return result.view(images.dtype), targets
