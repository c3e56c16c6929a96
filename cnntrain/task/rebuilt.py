"""What ``predict`` tells of a network that gives pictures: how near each comes to the one that it was shown, and the pictures as files."""

import re
import statistics
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from cnntrain.engine.pictures import grid, png, shorten
from cnntrain.engine.storage import write_whole
from cnntrain.errors import CheckpointError, ConfigError
from cnntrain.objective.reconstruction import psnr


class Rebuilt(NamedTuple):
    """A picture's file, the PSNR of its reconstruction in dB, and the reconstruction's file ("": none was asked for)."""

    file: str
    psnr: float
    reconstruction: str


def folder_beside(table: Path) -> Path:
    """The folder for the reconstructions that ``table`` lists, made and empty: TABLE_reconstructions, beside it.

    Raises:
        ConfigError: it holds other files than those of an earlier run, which are removed.
        CheckpointError: it cannot be written.
    """
    folder = table.with_name(f"{table.stem}_reconstructions")
    try:
        folder.mkdir(exist_ok=True)
        before = list(folder.iterdir())
        if others := [path.name for path in before if not re.fullmatch(r"\d{5,}\.png", path.name)]:
            raise ConfigError(f"{folder} holds other files, such as {others[0]}", where="out", fix="give out= another name")
        for path in before:
            path.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def rebuild(names: list[str], pixels: Tensor, images: Tensor, folder: Path | None, *, number: int) -> dict[str, Rebuilt]:
    """Compare a batch's pixels, uint8 (B,C,S,S), with what was made of them, in [0,1]; write that to ``folder``, numbered from ``number``.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    files = [""] * len(names) if folder is None else [str(folder / f"{number + place:05}.png") for place in range(len(names))]
    try:
        for file, image in zip(files, images, strict=True):
            if folder is not None:
                write_whole(Path(file), partial(_write, image))
    except OSError as error:
        raise _unwritable(folder, error) from error
    ratios = psnr(images, pixels.float() / 255).tolist()
    return {name: Rebuilt(name, ratio, file) for name, ratio, file in zip(names, ratios, files, strict=True)}


def _unwritable(folder: Path | None, error: OSError) -> CheckpointError:
    return CheckpointError(f"{folder} cannot be written: {error.strerror}", where="out", fix="name a file on storage with room")


def _write(image: Tensor, file: BinaryIO) -> None:
    file.write(png(grid(image[None], gap=0)))


def rows_of(rebuilt: Iterable[Rebuilt]) -> Iterator[list[object]]:
    """A header, and a row for each picture."""
    yield list(Rebuilt._fields)
    for one in rebuilt:
        yield [one.file, f"{one.psnr:.4f}", one.reconstruction]


def table_of(rebuilt: Collection[Rebuilt], *, most: int) -> Table:
    """Each picture with its PSNR; of more than ``most`` pictures those with the lowest."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if len(rebuilt) > most:
        table.title, table.title_justify, table.title_style = f"The {most} lowest of {len(rebuilt):,} PSNRs", "left", "bold"
        rebuilt = sorted(rebuilt, key=lambda one: one.psnr)[:most]
    made = any(one.reconstruction for one in rebuilt)
    for name in ("file", "PSNR", *(["reconstruction"] if made else [])):
        table.add_column(name, justify="right" if name == "PSNR" else "left", no_wrap=True)
    for one in rebuilt:
        file, reconstruction = (Text(shorten(path[::-1], width=32)[::-1]) for path in (one.file, one.reconstruction))
        table.add_row(file, f"{one.psnr:.2f} dB", *([reconstruction] if made else []))
    return table


def summary_of(rebuilt: Collection[Rebuilt]) -> str:
    """The mean PSNR, and the worst picture, in a line."""
    worst = min(rebuilt, key=lambda one: one.psnr)
    mean = statistics.fmean(one.psnr for one in rebuilt)
    return f"mean PSNR {mean:.2f} dB, the lowest {worst.psnr:.2f} dB: {shorten(worst.file, width=400)}"
