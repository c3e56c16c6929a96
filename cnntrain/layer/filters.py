"""Banks of fixed filters from image processing: edges and blurs, computed and never trained.

Sobel, Feldman: "A 3x3 isotropic gradient operator for image processing", 1968 (in Duda, Hart: "Pattern Classification and Scene Analysis",
1973, p. 271); the Laplacian and the binomial Gaussian as in any textbook. As cross-correlation kernels, 3×3:

- `sobel_x` is positive where a picture gets brighter to the right (vertical edges), `sobel_y` where it does so downwards;
- `gaussian` blurs, with weights that sum to 1;
- `laplacian` is the sum of the second differences, 0 on any ramp.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Filter = Literal["sobel_x", "sobel_y", "gaussian", "laplacian"]


_KERNELS: dict[Filter, tuple[tuple[float, float, float], ...]] = {
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "gaussian": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
}


class FixedFilters(nn.Module):
    """Each channel through each filter: (B, C, H, W) → (B, C·n, H, W), the n responses of a channel side by side.

    The picture is mirrored at its edges, so that the edge of the picture is no edge in it. `keep_image` appends the picture itself.
    The filters are a buffer: they go where the module goes, and no optimizer sees them.
    """

    weight: Tensor

    def __init__(self, filters: Sequence[Filter], in_channels: int, *, keep_image: bool = False) -> None:
        super().__init__()
        self.in_channels, self.keep_image = in_channels, keep_image
        self.out_channels = in_channels * (len(filters) + keep_image)
        bank = [[_KERNELS[name]] for _ in range(in_channels) for name in filters]
        self.register_buffer("weight", torch.tensor(bank, dtype=torch.float32))  # (C·n, 1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Filter, and append the picture if asked to."""
        responses = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, groups=self.in_channels)  # (B, C·n, H, W)
        return torch.cat([responses, x], dim=1) if self.keep_image else responses
