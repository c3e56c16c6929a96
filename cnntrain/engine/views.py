"""Several views of a picture, whose logits are averaged: test-time augmentation.

The mirror image is classic (Krizhevsky, Sutskever, Hinton 2012, section 4.1 averages ten crops and mirrors); ``mirror_shift`` is
Jordan 2024, arXiv 2404.00498, section 3.5: the picture and two of it moved by a pixel, each with its mirror image.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Views = Literal["none", "mirror", "mirror_shift"]


def averaged(model: Callable[[Tensor], Tensor], inputs: Tensor, tta: Views) -> Tensor:
    """The weighted mean of the logits, float32 (B,K), over the views of normalised pictures (B,C,H,W).

    ``none`` sees the picture alone; ``mirror`` it and its mirror image, half each; ``mirror_shift`` half as ``mirror`` does, and a
    quarter each of the picture moved one pixel up and left, and down and right, these too with their mirror images (six in all).
    """
    total = None
    for view, weight in _views(inputs, tta):
        logits = model(view).float() * weight if weight != 1 else model(view).float()
        total = logits if total is None else total + logits
    assert total is not None
    return total


def _views(inputs: Tensor, tta: Views) -> Iterator[tuple[Tensor, float]]:
    """Each view with its weight."""
    if tta == "none":
        yield inputs, 1.0
    elif tta == "mirror":
        yield from ((inputs, 0.5), (inputs.flip(3), 0.5))
    else:
        height, width = inputs.shape[2:]
        wide = F.pad(inputs, (1, 1, 1, 1), mode="reflect")
        for view, weight in ((inputs, 0.25), (wide[:, :, :height, :width], 0.125), (wide[:, :, 2:, 2:], 0.125)):
            yield from ((view, weight), (view.flip(3), weight))
