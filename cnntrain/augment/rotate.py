"""Random rotation about the picture's centre, bilinear.

Part of the affine distortions of Simard, Steinkraus, Platt, *Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis*, 2003.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F

from cnntrain.draws import BatchDraws
from cnntrain.units import Fraction, NonNegative


class Rotate:
    """Turn each picture by an angle that is uniform in -degrees ... +degrees.

    What comes in at the corners has the value ``fill`` (0 black, 1 white), or repeats the picture's edge.
    """

    def __init__(self, *, degrees: NonNegative = 15, fill: Fraction | Literal["edge"] = 0.0) -> None:
        self.degrees, self.fill = degrees, fill

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float (B, C, H, W) to the same shape; targets unchanged."""
        angles = (draws.uniform("rotate")[:, 0] * 2 - 1) * math.radians(self.degrees)
        return rotate(images, angles, self.fill), targets


def rotate(images: torch.Tensor, angles: torch.Tensor, fill: float | str = 0.0) -> torch.Tensor:
    """Pictures (B, C, H, W) turned counter-clockwise by ``angles`` (B,) in radians."""
    height, width = images.shape[-2:]
    cosine, sine = angles.cos(), angles.sin()
    # Places of the result → places of the source, in coordinates that run from -1 to 1 along either axis, whatever its length.
    across = torch.stack((cosine, -sine * (height / width), torch.zeros_like(angles)), 1)
    down = torch.stack((sine * (width / height), cosine, torch.zeros_like(angles)), 1)
    grid = F.affine_grid(torch.stack((across, down), 1).to(images.dtype), list(images.shape), align_corners=False)
    if fill == "edge":
        turned = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    elif fill:
        turned = F.grid_sample(images - fill, grid, padding_mode="zeros", align_corners=False) + fill
    else:
        turned = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return turned.clamp_(0, 1)  # the four weights of a bilinear mean may sum to a little over 1
