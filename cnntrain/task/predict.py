"""``cnntrain predict checkpoint=… images=…``: the likeliest classes of pictures that nobody has labelled, or an autoencoder's pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cnntrain.config.recipe import Recipe
from cnntrain.engine import checkpoint as checkpoints
from cnntrain.engine.pictures import shorten
from cnntrain.engine.terminal import console
from cnntrain.engine.views import Views
from cnntrain.task.load import Predictor, predictor, using
from cnntrain.task.pictures import find_pictures, none_readable, read_batches, tell_unreadable
from cnntrain.task.rebuilt import Rebuilt, folder_beside, rebuild, summary_of, table_of
from cnntrain.task.rebuilt import rows_of as rebuilt_rows
from cnntrain.task.results import check_out, write_csv
from cnntrain.units import Count

MOST_ROWS = 40  # pictures that the terminal lists

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
        for names, pictures, problems in read_batches(files, network.rules, batch_size):
            unreadable += problems
            if not names:
                continue
            pixels = torch.stack(pictures)
            with computer.autocast():
                outputs = network.outputs(pixels.contiguous(memory_format=computer.memory_format))
            if outputs.dim() == 4:
                made = made or (path and folder_beside(path))
                rebuilt |= rebuild(names, pixels, network.as_pixels(outputs), made, number=len(rebuilt))
            else:
                ranked |= dict(zip(names, network.rank(outputs.softmax(dim=1), top), strict=True))
    if ranked or rebuilt:
        shown = table_of(rebuilt.values(), most=MOST_ROWS) if rebuilt else ranking_of(ranked)
        show(shown, len(rebuilt or ranked), written=str(path) if path else "")
    tell_unreadable(unreadable, number=len(files))
    if not (ranked or rebuilt):
        raise none_readable(files, images)
    if rebuilt:
        console().print(summary_of(rebuilt.values()), markup=False, soft_wrap=True)
    if path is not None:
        write_csv(path, rebuilt_rows(rebuilt.values()) if rebuilt else rows_of(ranked))
        console().print(f"written to {path}" + (f", the reconstructions to {made}" if made else ""), markup=False, soft_wrap=True)
    elif rebuilt:
        console().print("out=predictions.csv writes this table, and beside it the reconstructions", markup=False, soft_wrap=True)
    if rebuilt:
        return {"pictures": len(rebuilt), "unreadable": unreadable, "reconstructions": [one._asdict() for one in rebuilt.values()]}
    return {
        "pictures": len(ranked),
        "unreadable": unreadable,
        "predictions": [{"file": file, "classes": [list(entry) for entry in entries]} for file, entries in ranked.items()],
    }


def rows_of(ranked: dict[str, Ranked]) -> Iterator[list[object]]:
    """A header, and a row for each picture: its file, then class and probability, the likeliest first."""
    number = len(next(iter(ranked.values())))
    yield ["file", *(name for place in range(1, number + 1) for name in (f"class_{place}", f"probability_{place}"))]
    for file, entries in ranked.items():
        yield [file, *(cell for name, probability in entries for cell in (name, f"{probability:.6f}"))]


def ranking_of(ranked: dict[str, Ranked]) -> Table:
    """The first pictures' classes: the likeliest, and as many of the next ones as there is room for."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    room = console().width - 58  # what is left beside 26 columns of file, 16 of class, 7 of probability, and the gaps
    rows: list[list[Text | str]] = []
    for file, entries in list(ranked.items())[:MOST_ROWS]:
        (best, probability), others = entries[0], [f"{shorten(name, width=16)} {100 * value:.1f} %" for name, value in entries[1:]]
        while others and cell_len(", ".join(others)) > room:
            others.pop()
        rows.append([Text(tail(file)), Text(shorten(best, width=16)), f"{100 * probability:.1f} %", Text(", ".join(others))])
    columns = ["file", "class", "p", *(["then"] if any(row[-1] for row in rows) else [])]
    for name in columns:
        table.add_column(name, justify="right" if name == "p" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(columns)])
    return table


def show(table: Table, number: int, *, written: str) -> None:
    """Print the table of the first of ``number`` pictures, and where the others are."""
    say = console()
    say.print(table)
    if number > MOST_ROWS:
        where = f"all are in {written}" if written else "all: out=predictions.csv"
        say.print(f"… and {number - MOST_ROWS:,} more ({where})", markup=False, soft_wrap=True)


def tail(file: str, *, width: int = 26) -> str:
    """A file's name on one line, its beginning left out if it is long."""
    return shorten(file[::-1], width=width)[::-1]
