"""The first layer whose filters decorrelate the pixels of a patch.

Page 2018, "How to train your ResNet" part 8 (https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/): frozen filters that
are the eigenvectors of the patches' covariance, each divided by the root of its eigenvalue. tysam-code's hlb-CIFAR10 (2023) has each of
them with either sign, before an activation; Jordan 2024, arXiv 2404.00498, section 3.2, adds a trained bias. Patches of 2×2 pixels there
and here.

As in Jordan's code the second moment is about zero, not about the mean: the pictures are normalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PICTURES = 100  # at a time: their patches are about ten megabytes in float64


class Whitening(nn.Conv2d):
    """A convolution (B, C, H, W) → (B, 2·C·k², H - k + 1, W - k + 1), which :meth:`whiten` gives its filters; before that, any other."""

    def __init__(self, in_channels: int, *, kernel: int = 2) -> None:
        super().__init__(in_channels, 2 * in_channels * kernel * kernel, kernel)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def whiten(self, images: Tensor, *, eps: float) -> None:
        """Set the filters from normalised pictures (n, C, H, W): v / sqrt(λ + eps) of the patches' eigenpairs, and their negatives.

        The largest λ comes first. The bias stays as it is.
        """
        values, vectors = torch.linalg.eigh(patch_moment(images, self.kernel_size[0]))
        filters = (vectors / torch.sqrt(values.clamp(min=0) + eps)).T.flip(0)  # a row a filter
        # A row's sign is free: its largest number is positive, on every machine.
        filters = filters * filters.gather(1, filters.abs().argmax(1, keepdim=True)).sign()
        self.weight.copy_(torch.cat([filters, -filters]).reshape(self.weight.shape))


def patch_moment(images: Tensor, kernel: int) -> Tensor:
    """E[p pᵀ] over all patches p (C·k·k, in a filter's order) of pictures (n, C, H, W): float64 (C·k·k, C·k·k) on the CPU."""
    precise = torch.float32 if images.device.type == "mps" else torch.float64  # which that device lacks
    sums, count = [], 0
    for some in images.split(_PICTURES):
        patches = F.unfold(some, kernel).to(precise)  # (n, C·k·k, number of patches)
        sums.append((patches @ patches.mT).cpu().double().sum(0))
        count += len(patches) * patches.shape[2]
    return torch.stack(sums).sum(0) / count
