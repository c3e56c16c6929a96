"""What ``predict`` tells of a network that gives pictures: how near each comes to the one that it was shown, and the pictures as files."""

import re
from collections.abc import Iterable, Iterator
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


def table_of(rebuilt: Iterable[Rebuilt]) -> Table:
    """Each picture with its PSNR."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("file", "left"), ("PSNR", "right"), ("reconstruction", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for one in rebuilt:
        shown = (shorten(path[::-1], width=26)[::-1] for path in (one.file, one.reconstruction))
        file, made = map(Text, shown)
        table.add_row(file, f"{one.psnr:.2f} dB", made)
    return table
