"""Progressive resizing: small pictures first, which cost less, and full ones towards the end.

Howard 2018 (fast.ai's entry to DAWNBench, https://www.fast.ai/posts/2018-08-10-fastai-diu-imagenet.html); that a network should end
on the resolution it is judged at, or above it: Touvron, Vedaldi, Douze, Jégou, *Fixing the train-test resolution discrepancy*, 2019,
arXiv 1906.06423.
"""

import torch
import torch.nn.functional as F

from cnntrain.draws import BatchDraws
from cnntrain.units import Count, Duration, Fraction


class Progressive:
    """Shrink every picture of a batch to the size of the step: from ``start`` of the full size, in ``stages``, to all of it at ``until``.

    Nothing is drawn. It comes last in the list of operations: what is measured in pixels means those of the full picture. The network
    must take pictures of any size.
    """

    def __init__(self, *, start: Fraction = 0.5, until: Duration = "60%", stages: Count = 4, multiple: Count = 4, clock) -> None:
        self.start, self.stages, self.multiple = start, stages, multiple
        self.until = clock.steps(until)

    def __call__(self, images: torch.Tensor, targets: torch.Tensor, draws: BatchDraws) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float (B, C, S, S) to (B, C, s, s), by antialiased bilinear interpolation; targets unchanged."""
        full = images.shape[-1]
        size = self.size(full, draws.step)
        if size == full:
            return images, targets
        return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True), targets

    def size(self, full: int, step: int) -> int:
        """Height and width at a step: a multiple of ``multiple``, or the full size."""
        if step >= self.until:
            return full
        stage = step * self.stages // self.until
        share = self.start + (1 - self.start) * stage / self.stages
        return min(max(round(share * full / self.multiple), 1) * self.multiple, full)

    def sizes(self, full: int) -> list[int]:
        """All sizes that occur, for the check that the network takes them."""
        firsts = (-(-stage * self.until // self.stages) for stage in range(self.stages))
        return sorted({self.size(full, step) for step in firsts} | {full})
