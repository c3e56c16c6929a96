"""``cnntrain filter images=… out=…``: pictures through the fixed filters of ``cnntrain/layer/filters.py``, to be looked at.

Each picture gets a sheet: itself, and beside it what each filter answers to its brightness (0.299 red + 0.587 green + 0.114 blue, ITU-R
BT.601). Answers that have a sign are grey where they are 0, brighter where they are positive; `sobel`, the strength of the edges
sqrt(sobel_x² + sobel_y²), is black there; `gaussian` is a picture as it stands. One scale serves all answers to a picture: what the
strongest hundredth of them reach is white, or black.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cnntrain.data.decode import Rules, pillow_rules
from cnntrain.engine.pictures import grid, png, titled
from cnntrain.engine.storage import write_whole
from cnntrain.engine.terminal import console
from cnntrain.errors import CheckpointError, ConfigError, DataError
from cnntrain.layer.filters import Filter, FixedFilters
from cnntrain.task.pictures import DECODERS, find_pictures, none_readable, read_batches, tell_unreadable
from cnntrain.units import Count

ENDING = ".filters.png"
SOFTWARE = "cnntrain filter"  # in the header of a sheet, by which it is known: no other file is ever written over
SMALLEST = 128  # pixels: of a smaller picture every pixel becomes a square of several
BRIGHTNESS = (0.299, 0.587, 0.114)
STRONGEST = 99.0  # per cent of the answers that are shown without being cut off
FAINTEST = 0.02  # of the range from black to white: noise below it is not blown up


def filter(
    *,
    images: str,
    out: str,
    filters: tuple[Literal["sobel_x", "sobel_y", "sobel", "gaussian", "laplacian"], ...],
    image_size: Count | None = None,
) -> dict[str, Any]:
    """Write a sheet for each picture to the folder ``out``: NAME.filters.png. ``images`` is a file, a folder or a pattern.

    With ``image_size`` each picture is first brought to that many pixels a side, as for a network. Files that are no pictures are named and
    left out; sheets of an earlier call are written anew, other files never.

    Raises:
        ConfigError: no filters, or a file that is no sheet has a sheet's name.
        DataError: there are no such files, or none of them is a picture.
        CheckpointError: the folder cannot be written.
    """
    if not filters:
        raise ConfigError("no filter is named", where="filters", fix="filters=[sobel_x,sobel_y]")
    chosen = list(dict.fromkeys(filters))
    unreadable: list[str] = []
    written: list[Path] = []
    with pillow_rules():
        files = [file for file in find_pictures(images) if not is_sheet(file)]
        if not files:
            raise DataError(f"{images} holds sheets of this command alone", where="images", fix="name the pictures themselves")
        places = places_of(files, images, Path(out).expanduser())
        for names, pictures, problems in read_batches(files, Rules(image_size or 0), DECODERS):
            unreadable += problems
            for name, picture in zip(names, pictures, strict=True):
                if min(picture.shape[1:]) < 2:  # a filter mirrors a picture's second row at its edge
                    unreadable.append(f"{name} has {picture.shape[2]}x{picture.shape[1]} pixels; the filters need 2 a side")
                    continue
                _write(places[name], sheet(picture, chosen))
                written.append(places[name])
    tell_unreadable(unreadable, number=len(files))
    if not written:
        raise none_readable(files, images)
    more = f" and {len(written) - 1:,} more there" if len(written) > 1 else ""
    for line in (
        f"on a sheet: picture, {', '.join(chosen)}",
        "grey is 0, brighter is positive, darker is negative; of sobel, black is 0",
        f"written to {written[0]}{more}",
    ):
        console().print(line, markup=False, soft_wrap=True)
    return {"pictures": len(written), "unreadable": unreadable, "sheets": list(map(str, written))}


def places_of(files: Sequence[str], images: str, folder: Path) -> dict[str, Path]:
    """Where each file's sheet goes: below ``folder`` as the file lies below ``images``, so that no two have one name.

    Raises:
        ConfigError: a file that is no sheet is there already.
    """
    root = os.path.expanduser(images)
    if not os.path.isdir(root):
        root = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    places = {file: folder / (os.path.relpath(file, root) + ENDING) for file in files}
    taken = next((place for place in places.values() if os.path.lexists(place) and not is_sheet(place)), None)
    if taken is not None:
        raise ConfigError(f"{taken} is there already, and is no sheet of this command", where="out", fix=f"out={folder / 'filters'}")
    return places


def is_sheet(path: str | Path) -> bool:
    """Whether a file was made by this command: by its name and its header."""
    from PIL import Image

    if not str(path).endswith(ENDING) or not os.path.isfile(path):
        return False
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == SOFTWARE
    except Exception:  # a damaged file makes Pillow raise almost anything
        return False


def sheet(picture: Tensor, filters: Sequence[str]) -> np.ndarray:
    """A picture, uint8 (3,H,W), and what the filters answer to it, side by side with their names: uint8 (H',W',3)."""
    shown = torch.stack([picture, *(answer.expand(3, -1, -1) for answer in answers(picture, filters))])  # (n + 1, 3, H, W)
    times = max(1, -(-SMALLEST // max(picture.shape[1:])))
    shown = shown.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    return grid(titled(shown, ["picture", *filters]), gap=6)


def answers(picture: Tensor, filters: Sequence[str]) -> Tensor:
    """What the filters answer to the brightness of a picture, uint8 (3,H,W), as pictures: uint8 (n,H,W)."""
    bank = list(get_args(Filter))
    brightness = torch.einsum("c,chw->hw", torch.tensor(BRIGHTNESS), picture / 255)
    found = dict(zip(bank, FixedFilters(bank, 1)(brightness[None, None])[0], strict=True))
    found["sobel"] = torch.hypot(found["sobel_x"], found["sobel_y"])
    strongest = max(np.percentile(found[name].abs().numpy(), STRONGEST) for name in ("sobel", "laplacian"))
    scale = 1 / max(float(strongest), FAINTEST)
    lights = {name: 0.5 + 0.5 * scale * found[name] for name in ("sobel_x", "sobel_y", "laplacian")}  # 0 is grey
    lights |= {"sobel": scale * found["sobel"], "gaussian": found["gaussian"]}
    return (torch.stack([lights[name] for name in filters]).clamp(0, 1) * 255).round().to(torch.uint8)


def _write(path: Path, picture: np.ndarray) -> None:
    content = png(picture, software=SOFTWARE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}", where="out", fix="out=FOLDER on storage with room") from error
