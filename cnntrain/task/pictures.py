"""The picture files that a path or pattern stands for, and their pixels: what ``predict`` and ``filter`` are shown."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from torch import Tensor

from cnntrain.data.decode import SUFFIXES, Rules, pillow_rules
from cnntrain.engine.pictures import shorten
from cnntrain.engine.terminal import console
from cnntrain.errors import DataError
from cnntrain.task.load import read_picture

MOST_NAMED = 10  # unreadable files that the terminal names
DECODERS = 4  # threads: Pillow decodes outside Python's lock


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


def read_batches(files: Sequence[str], rules: Rules, batch_size: int) -> Iterator[tuple[list[str], list[Tensor], list[str]]]:
    """Of each batch of files the names and pixels, uint8 (C,H,W), of those that can be read, and a line for each of the others."""
    read = partial(_read, rules=rules)
    with pillow_rules(), ThreadPoolExecutor(DECODERS) as pool:
        for first in range(0, len(files), batch_size):
            names = files[first : first + batch_size]
            results = list(zip(names, pool.map(read, names), strict=True))
            good = [(name, pixels) for name, pixels in results if isinstance(pixels, Tensor)]
            yield [name for name, _ in good], [pixels for _, pixels in good], [line for _, line in results if isinstance(line, str)]


def _read(name: str, *, rules: Rules) -> Tensor | str:
    """The pixels of a file, or what is wrong with it."""
    try:
        return read_picture(name, rules)
    except DataError as error:
        return error.what


def tell_unreadable(problems: Sequence[str], *, number: int) -> None:
    """Print what is wrong with the first of the files that could not be read, and how many of ``number`` files they are."""
    say = console()
    for problem in problems[:MOST_NAMED]:
        say.print(f"left out: {shorten(problem, width=400)}", markup=False, soft_wrap=True)
    if problems:
        more = f" (the first {MOST_NAMED} are named)" if len(problems) > MOST_NAMED else ""
        say.print(f"{len(problems):,} of {number:,} files could not be read{more}", markup=False, soft_wrap=True)


def none_readable(files: Sequence[str], images: str) -> DataError:
    """The error for files of which none is a picture."""
    return DataError(f"None of {len(files)} files is a picture that can be read", where=f"images={images}", fix="name whole picture files")
