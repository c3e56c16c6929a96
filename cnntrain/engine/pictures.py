"""Pictures for TensorBoard and files: all of them uint8 RGB arrays (H,W,3)."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_NUMBERED = 20  # classes up to which every cell of a confusion matrix carries its count
MOST_NAMED = 120  # classes up to which every row and column carries its name


def confusion_picture(confusion: Tensor, classes: Sequence[str], *, title: str = "") -> np.ndarray:
    """A confusion matrix (K,K), rows the truth, as a picture: uint8 (H,W,3).

    A cell's colour is the square root of its share of the row (of that class's samples), so that rare mistakes are seen too; its number
    is the count, written where there is room for it. Of very many classes every n-th is named.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = confusion.cpu().double().numpy()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    numbered = len(counts) <= MOST_NUMBERED
    every = -(-len(counts) // MOST_NAMED)
    names = {place: shorten(classes[place]) for place in range(0, len(counts), every)}
    font = 9 if numbered else 7  # points; the box below is in inches, of 100 dots each
    margin = 0.5 + max(map(len, names.values())) * font * 0.0095
    side = min(max(len(counts) * (0.45 if numbered else 0.15), 3.0), 18.0)
    width = margin + side + 0.4
    # Not pyplot, which keeps every figure; nor axes with ticks and automatic margins, which take seconds for 100 names.
    figure = Figure(figsize=(width, width), dpi=100)
    axes = figure.add_axes((margin / width, margin / width, side / width, side / width))
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    plain: dict[str, Any] = {"fontsize": font, "parse_math": False}  # a dollar sign in a name is no formula
    low, high = -0.5 - 0.06 * len(counts) / side, len(counts) - 0.5 + 0.06 * len(counts) / side  # just outside the matrix
    for place, name in names.items():
        axes.text(low, place, name, ha="right", va="center", **plain)
        axes.text(place, high, name, ha="center", va="top", rotation=90, **plain)
    for row, column in np.argwhere(counts > 0) if numbered else ():
        colour = "white" if shares[row, column] > 0.35 else "black"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    figure.text(0.5, 1 - 0.1 / width, title, ha="center", va="top", fontsize=10, parse_math=False)
    figure.text(0.08 / width, (margin + side / 2) / width, "truth", ha="left", va="center", rotation=90, fontsize=10)
    figure.text((margin + side / 2) / width, 0.08 / width, "predicted", ha="center", va="bottom", fontsize=10)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in a script that the font lacks is drawn as boxes
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def shorten(name: str, *, width: int = 24) -> str:
    """A name on one line, without control characters, its end left out if it takes more than ``width`` columns (some letters take two)."""
    from rich.cells import cell_len

    name = "".join(character if character.isprintable() else "·" for character in name)
    if cell_len(name) <= width:
        return name
    name = name[: width - 1]
    while cell_len(name) > width - 1:
        name = name[:-1]
    return name + "…"


def grid(images: Tensor, *, most: int = 64, gap: int = 2) -> np.ndarray:
    """The first ``most`` pictures of a batch side by side: uint8 or float in [0,1] (B,C,H,W) → uint8 (H,W,3).

    As square as the pictures allow. One channel is grey; of more than three the first three are shown. NaN is black.
    """
    images = images[:most].detach().cpu()
    if images.dtype != torch.uint8:
        images = (images.float().nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    images = torch.nn.functional.pad(images, (0, gap, 0, gap), value=255)  # (B, 3, H+gap, W+gap)
    number, _, height, width = images.shape
    columns = min(number, math.ceil((number * height / width) ** 0.5))
    rows = -(-number // columns)
    missing = images.new_full((rows * columns - number, 3, height, width), 255)
    cells = torch.cat([images, missing]).reshape(rows, columns, 3, height, width)
    picture = cells.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    return picture[: rows * height - gap, : columns * width - gap].numpy()


def png(picture: np.ndarray) -> bytes:
    """A picture (H,W,3) as the bytes of a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()
