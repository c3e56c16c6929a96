"""A set of one published size brought to another one, once, as it is read.

By the resampling that picture files get (``decode.py``: Pillow's, bilinear with antialiasing), so that a network is shown the same pixels
by ``predict`` that it was trained on.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cnntrain.data.dataset import Source
from cnntrain.data.progress import progress
from cnntrain.data.split import Split
from cnntrain.data.storage import available_memory
from cnntrain.errors import ConfigError

MEMORY_SHARE = 0.5  # of what is free that the training part may take; the rest is for the test part, the model and others


def sized(source: Source, image_size: int | None) -> Source:
    """The same set in pictures of ``image_size`` pixels a side, made when a part is read; None leaves them as they are.

    Reading raises ConfigError if the training part would not fit into memory.
    """
    if image_size in (None, source.image_size):
        return source

    def read(part: str) -> Split:
        if part == "train":  # before it is fetched; no published test part is larger
            _check_memory(source, image_size)
        split = source.read(part)
        assert isinstance(split, Split)
        return Split(resized(split.images, image_size), split.labels, rows=split.rows, names=split.names)

    return replace(source, image_size=image_size, read=read)


def resized(images: Tensor, image_size: int) -> Tensor:
    """Pictures uint8 (N, C, H, W), grey or colour, in another size: uint8 (N, C, S, S)."""
    from PIL import Image

    made = torch.empty(*images.shape[:2], image_size, image_size, dtype=torch.uint8)
    with progress(f"resizing to {image_size}x{image_size}", len(images)) as advance:
        for picture, target in zip(images.numpy(), made.numpy(), strict=True):
            whole = Image.fromarray(picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0)))
            pixels = np.asarray(whole.resize((image_size, image_size), Image.Resampling.BILINEAR))
            target[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            advance(1)
    return made


def _check_memory(source: Source, image_size: int) -> None:
    pictures, free = sum(source.counts or ()), int(MEMORY_SHARE * available_memory())
    needed = pictures * source.in_channels * image_size**2
    if needed > free:
        largest = max(1, math.isqrt(free // (pictures * source.in_channels)))
        raise ConfigError(
            f"{pictures:,} pictures of {image_size}x{image_size} take {needed / 1e9:.1f} GB, "
            f"half of the memory that is free is {free / 1e9:.1f} GB",
            where=f"data.image_size={image_size}",
            fix=f"data.image_size={largest}, or the pictures as files with data=folder, which need not fit",
        )
