"""Pictures for TensorBoard and files: all of them uint8 RGB arrays (H,W,3)."""

import functools
import importlib.util
import io
import math
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
    is the count, written where there is room for it. Of very many classes every n-th is named. Drawn by PIL: matplotlib's import alone
    takes a second, at the end of every run.
    """
    from PIL import Image, ImageDraw

    counts = confusion.cpu().double().numpy()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    numbered = len(counts) <= MOST_NUMBERED
    every = -(-len(counts) // MOST_NAMED)
    names = {place: shorten(classes[place]) for place in range(0, len(counts), every)}
    font, large = _font(13 if numbered else 10), _font(14)
    margin = 40 + int(max(map(font.getlength, names.values())))  # on the left and below, for the names
    side = min(max(len(counts) * (45 if numbered else 15), 300), 1800)
    cell, top = side / len(counts), 40
    picture = Image.new("RGB", (margin + side + 40, top + side + margin), "white")
    matrix = Image.fromarray(_blues(np.sqrt(shares)))
    picture.paste(matrix.resize((side, side), Image.Resampling.NEAREST), (margin, top))
    draw = ImageDraw.Draw(picture)
    for place, name in names.items():
        middle = (place + 0.5) * cell
        draw.text((margin - 6, top + middle), name, "black", font, anchor="rm")
        upright = _upright(name, font)
        picture.paste(upright, (round(margin + middle - upright.width / 2), top + side + 6))
    for row, column in np.argwhere(counts > 0) if numbered else ():
        colour = "white" if shares[row, column] > 0.35 else "black"
        at = margin + (column + 0.5) * cell, top + (row + 0.5) * cell
        draw.text(at, f"{counts[row, column]:.0f}", colour, _font(11), anchor="mm")
    draw.text((picture.width / 2, 10), shorten(title, width=80), "black", large, anchor="ma")
    truth = _upright("truth", large)
    picture.paste(truth, (6, top + (side - truth.height) // 2))
    draw.text((margin + side / 2, picture.height - 6), "predicted", "black", large, anchor="md")
    return np.array(picture)


def _blues(values: np.ndarray) -> np.ndarray:
    """From nearly white (0) to dark blue (1): float (H,W) in [0,1] → uint8 (H,W,3)."""
    colours = np.array([(247, 251, 255), (158, 202, 225), (49, 130, 189), (8, 48, 107)])
    channels = [np.interp(values, (0.0, 0.375, 0.7, 1.0), colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


@functools.cache
def _font(size: int) -> Any:
    """DejaVu Sans of so many pixels, which has the letters of most alphabets, from matplotlib's files; otherwise PIL's own."""
    from PIL import ImageFont

    spec = importlib.util.find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec is not None else None
    try:
        return ImageFont.truetype(f"{folders[0]}/mpl-data/fonts/ttf/DejaVuSans.ttf" if folders else "DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _upright(text: str, font: Any) -> Any:
    """Text that is read from below, as a picture of its own size."""
    from PIL import Image, ImageDraw

    _, top, right, bottom = font.getbbox(text, anchor="ls")
    ascent, descent = max(1, math.ceil(-top)), max(1, math.ceil(bottom))
    picture = Image.new("RGB", (max(1, math.ceil(right)), ascent + descent), "white")
    ImageDraw.Draw(picture).text((0, ascent), text, "black", font, anchor="ls")
    return picture.transpose(Image.Transpose.ROTATE_90)


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


def titled(images: Tensor, titles: Sequence[str]) -> Tensor:
    """Pictures, uint8 (B,3,H,W), each below a line with its title: uint8 (B,3,H+20,W), or as wide as the longest title needs."""
    from PIL import Image, ImageDraw

    font = _font(13)
    width = max(images.shape[3], *(math.ceil(font.getlength(title)) + 2 for title in titles))
    lines = []
    for title in titles:
        line = Image.new("RGB", (width, 20), "white")
        ImageDraw.Draw(line).text((1, 2), title, "black", font)
        lines.append(torch.from_numpy(np.array(line)).permute(2, 0, 1))
    wide = torch.nn.functional.pad(images, (0, width - images.shape[3]), value=255)
    return torch.cat([torch.stack(lines), wide], dim=2)


def png(picture: np.ndarray, *, software: str = "") -> bytes:
    """A picture (H,W,3) as the bytes of a PNG file, whose header may name the software that made it."""
    from PIL import Image, PngImagePlugin

    file, header = io.BytesIO(), PngImagePlugin.PngInfo()
    if software:
        header.add_text("Software", software)
    Image.fromarray(picture).save(file, format="PNG", pnginfo=header)
    return file.getvalue()
