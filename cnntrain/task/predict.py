"""``cnntrain predict checkpoint=… images=…``: the likeliest classes of pictures that nobody has labelled, or an autoencoder's pictures."""

import glob
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from torch import Tensor

from cnntrain.config.recipe import Recipe
from cnntrain.data.decode import SUFFIXES, Rules, pillow_rules
from cnntrain.engine import checkpoint as checkpoints
from cnntrain.engine.pictures import shorten
from cnntrain.engine.terminal import console
from cnntrain.engine.views import Views
from cnntrain.errors import DataError
from cnntrain.task.load import Predictor, predictor, read_picture, using
from cnntrain.task.rebuilt import Rebuilt, folder_beside, rebuild, table_of
from cnntrain.task.rebuilt import rows_of as rebuilt_rows
from cnntrain.task.results import check_out, write_csv
from cnntrain.units import Count

MOST_ROWS = 40  # pictures that the terminal lists
MOST_NAMED = 10  # unreadable files that it names
DECODERS = 4  # threads: Pillow decodes outside Python's lock

Ranked = list[tuple[str, float]]


def predict(
    *,
    checkpoint: str,
    images: str,
    out: str | None = None,
    top: Count = 5,
    tta: Views | None = None,
    batch_size: Count = 256,
    machine: Recipe,
    trust: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The ``top`` likeliest classes of each picture, printed and written to ``out``. ``images`` is a file, a folder or a pattern.

    Of a network that gives pictures: how well it reconstructs each; beside ``out``, the folder NAME_reconstructions gets them.

    Files that cannot be read as pictures are named and left out.

    Raises:
        DataError: there are no such files, or none of them is a picture.
        CheckpointError: the checkpoint is missing, damaged or of another model.
    """
    path = check_out(out, (".csv",))
    files = find_pictures(images)
    stored = checkpoints.read(checkpoint)
    computer = machine()
    with using(computer):
        network = computer.place(predictor(stored, trust=trust, tta=tta))
        assert isinstance(network, Predictor)
        ranked: dict[str, Ranked] = {}
        rebuilt: dict[str, Rebuilt] = {}  # in its place, of a network that gives pictures
        made: Path | None = None  # the folder of reconstructions
        unreadable: list[str] = []
        for names, pixels, problems in read_batches(files, network.rules, batch_size):
            unreadable += problems
            if not names:
                continue
            with computer.autocast():
                outputs = network.outputs(pixels.contiguous(memory_format=computer.memory_format))
            if outputs.dim() == 4:
                made = made or (path and folder_beside(path))
                rebuilt |= rebuild(names, pixels, network.as_pixels(outputs), made, number=len(rebuilt))
            else:
                ranked |= dict(zip(names, network.rank(outputs.softmax(dim=1), top), strict=True))
    table = table_of(list(rebuilt.values())[:MOST_ROWS]) if rebuilt else ranking_of(ranked)
    show(table, len(rebuilt or ranked), unreadable, written=str(path) if path else "")
    if not (ranked or rebuilt):
        raise DataError(
            f"None of {len(files)} files is a picture that can be read", where=f"images={images}", fix="name whole picture files"
        )
    if path is not None:
        write_csv(path, rebuilt_rows(rebuilt.values()) if rebuilt else rows_of(ranked))
        console().print(f"written to {path}", markup=False, soft_wrap=True)
    if rebuilt:
        return {"pictures": len(rebuilt), "unreadable": unreadable, "reconstructions": [one._asdict() for one in rebuilt.values()]}
    return {
        "pictures": len(ranked),
        "unreadable": unreadable,
        "predictions": [{"file": file, "classes": [list(entry) for entry in entries]} for file, entries in ranked.items()],
    }


def find_pictures(images: str) -> list[str]:
    """The files that a path or pattern stands for, sorted: a folder's pictures with those of its subfolders (by their endings).

    Hidden files and folders are left out of folders; a name that exists is never taken for a pattern.

    Raises:
        DataError: nothing is there.
    """
    place = os.path.expanduser(images)
    if os.path.isfile(place):
        return [place]
    if os.path.isdir(place):
        found = sorted(_walk(place))
        if not found:
            raise DataError(
                f"There is no picture in {images}", where="images", fix=f"name a folder with {', '.join(sorted(SUFFIXES))} files"
            )
        return found
    found = sorted(_once(name for name in glob.glob(place, recursive=True) if os.path.isfile(name)))
    if not found:
        what = "No file matches" if glob.has_magic(place) else "There is no file or folder"
        raise DataError(f"{what} {images}", where="images", fix="images=FILE, images=FOLDER or images='FOLDER/*.jpg'")
    return found


def _once(names: Iterable[str]) -> Iterable[str]:
    """Each file once: what ** reaches by several links to folders, by the shortest of its names."""
    ordered = sorted(names, key=lambda name: (-len(name), name))
    return {os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name)): name for name in ordered}.values()


def _walk(folder: str) -> Iterator[str]:
    """All pictures below a folder; links to folders are not followed, so that no loop can catch it."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield os.path.join(place, name)


def read_batches(files: list[str], rules: Rules, batch_size: int) -> Iterator[tuple[list[str], Tensor, list[str]]]:
    """Names and pixels, uint8 (B,C,S,S), of the readable files of each batch, and a line for each of the others."""
    read = partial(_read, rules=rules)
    with pillow_rules(), ThreadPoolExecutor(DECODERS) as pool:
        for first in range(0, len(files), batch_size):
            names = files[first : first + batch_size]
            results = list(zip(names, pool.map(read, names), strict=True))
            good = [(name, pixels) for name, pixels in results if isinstance(pixels, Tensor)]
            problems = [problem for _, problem in results if isinstance(problem, str)]
            yield [name for name, _ in good], torch.stack([pixels for _, pixels in good]) if good else torch.empty(0), problems


def _read(name: str, *, rules: Rules) -> Tensor | str:
    """The pixels of a file, or what is wrong with it."""
    try:
        return read_picture(name, rules)
    except DataError as error:
        return error.what


def rows_of(ranked: dict[str, Ranked]) -> Iterator[list[object]]:
    """A header, and a row for each picture: its file, then class and probability, the likeliest first."""
    number = len(next(iter(ranked.values())))
    yield ["file", *(name for place in range(1, number + 1) for name in (f"class_{place}", f"probability_{place}"))]
    for file, entries in ranked.items():
        yield [file, *(cell for name, probability in entries for cell in (name, f"{probability:.6f}"))]


def ranking_of(ranked: dict[str, Ranked]) -> Table:
    """The first pictures' classes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("file", "left"), ("class", "left"), ("", "right"), ("then", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    room = console().width - 58  # what is left beside 26 columns of file, 16 of class, 7 of probability, and the gaps
    for file, entries in list(ranked.items())[:MOST_ROWS]:
        (best, probability), others = entries[0], [f"{shorten(name, width=16)} {100 * value:.1f} %" for name, value in entries[1:]]
        while cell_len(", ".join(others)) > room:
            others.pop()
        table.add_row(Text(tail(file)), Text(shorten(best, width=16)), f"{100 * probability:.1f} %", Text(", ".join(others)))
    return table


def show(table: Table, number: int, unreadable: list[str], *, written: str) -> None:
    """Print the table of the first of ``number`` pictures, and what could not be read."""
    say = console()
    if number:
        say.print(table)
    if number > MOST_ROWS:
        where = f"all are in {written}" if written else "all: out=predictions.csv"
        say.print(f"… and {number - MOST_ROWS:,} more ({where})", markup=False, soft_wrap=True)
    for problem in unreadable[:MOST_NAMED]:
        say.print(f"left out: {shorten(problem, width=400)}", markup=False, soft_wrap=True)
    if unreadable:
        more = f" (the first {MOST_NAMED} are named)" if len(unreadable) > MOST_NAMED else ""
        say.print(f"{len(unreadable):,} of {number + len(unreadable):,} files could not be read{more}", markup=False, soft_wrap=True)


def tail(file: str, *, width: int = 26) -> str:
    """A file's name on one line, its beginning left out if it is long."""
    return shorten(file[::-1], width=width)[::-1]
