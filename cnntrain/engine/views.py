"""Several views of a picture, whose logits or reconstructions are averaged: test-time augmentation.

The mirror image is classic (Krizhevsky, Sutskever, Hinton 2012, section 4.1 averages ten crops and mirrors); ``mirror_shift`` is
Jordan 2024, arXiv 2404.00498, section 3.5: the picture and two of it moved by a pixel, each with its mirror image.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from cnntrain.errors import ConfigError

Views = Literal["none", "mirror", "mirror_shift"]


def averaged(model: Callable[[Tensor], Tensor], inputs: Tensor, tta: Views) -> Tensor:
    """The weighted mean of what the model gives, float32, over the views of normalised pictures (B,C,H,W).

    ``none`` sees the picture alone; ``mirror`` it and its mirror image, half each; ``mirror_shift`` half as ``mirror`` does, and a
    quarter each of the picture moved one pixel up and left, and down and right, these too with their mirror images (six in all).
    Logits (B,K) are averaged as they are; pictures (B,C,H,W) that the model makes of mirror images are turned back before.

    Raises:
        ConfigError: the model makes pictures of moved ones, whose edges nobody knows.
    """
    total = None
    for view, weight, mirrored in _views(inputs, tta):
        outputs = model(view).float()
        if outputs.dim() == 4:
            check_views(tta, "images")
            outputs = outputs.flip(3) if mirrored else outputs
        weighted = outputs * weight if weight != 1 else outputs
        total = weighted if total is None else total + weighted
    assert total is not None
    return total


def check_views(tta: Views, outputs: str) -> None:
    """Refuse views whose outputs, ``logits`` or ``images``, cannot be averaged.

    Raises:
        ConfigError: as above.
    """
    if outputs == "images" and tta == "mirror_shift":
        raise ConfigError("Reconstructions of moved pictures lack an edge, so that they cannot be averaged", where="tta", fix="tta=mirror")


def _views(inputs: Tensor, tta: Views) -> Iterator[tuple[Tensor, float, bool]]:
    """Each view with its weight, and whether it is a mirror image."""
    if tta == "none":
        yield inputs, 1.0, False
    elif tta == "mirror":
        yield from ((inputs, 0.5, False), (inputs.flip(3), 0.5, True))
    else:
        height, width = inputs.shape[2:]
        wide = F.pad(inputs, (1, 1, 1, 1), mode="reflect")
        for view, weight in ((inputs, 0.25), (wide[:, :, :height, :width], 0.125), (wide[:, :, 2:, 2:], 0.125)):
            yield from ((view, weight, False), (view.flip(3), weight, True))
