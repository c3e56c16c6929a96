"""Which pictures a folder holds: names, classes, sizes and times; nothing is opened.

``ROOT/CLASS/…`` or ``ROOT/{train,val,test}/CLASS/…``. Class names and numbers come from train, and the other parts are mapped by name.
Order is natural (``2.jpg`` before ``10.jpg``) and the same on every file system. Each real file counts once, whatever links lead to it.
"""

import difflib
import hashlib
import os
import re
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.decode import SUFFIXES
from cnntrain.data.names import Names
from cnntrain.data.progress import progress
from cnntrain.errors import DataError

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
ENDINGS = tuple(SUFFIXES)
ZEROS = bytes.maketrans(b"123456789", b"000000000")
NUMBER = re.compile("0*([0-9]+)")


@dataclass
class Part:
    """The pictures of train, val or test: file names below ``root`` with ``/``, the label of each (int64 (N,)), and whether it changed.

    ``digest`` is that of all names, sizes and times. Of a file only its name is kept: a folder may hold millions.
    """

    name: str
    root: Path
    files: Names
    labels: np.ndarray
    digest: str


@dataclass
class Listing:
    """All parts that a folder has, the classes in order, and remarks for the user."""

    classes: list[str]
    parts: dict[str, Part]
    warnings: list[str]


def natural(names: list[str]) -> list[str]:
    """Names in the order in which numbers within them count as numbers, and come before any letter."""
    shapes = os.fsencode("\0".join(names)).translate(ZEROS).split(b"\0")
    # With numbers of the same widths at the same places in all names, the order of strings is that order.
    return sorted(names, key=None if shapes.count(shapes[0]) == len(shapes) else _by_numbers)


def _by_numbers(name: str) -> str:
    """A key of one string: a number is NUL, its length and its digits, so that longer ones are larger; names of equal key by themselves."""
    return NUMBER.sub(lambda number: f"\0{chr(len(number[1]))}{number[1]}", name) + "\0\0" + name


def scan(root: Path) -> Listing:
    """List a folder of pictures.

    Raises:
        DataError: it is missing or empty, has fewer than two classes, a class without pictures, or a class in val or test that train lacks.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}", where="data.root", fix="data.root=DIR with a folder of pictures for each class")
    try:
        return _scan(root)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}", where="data.root", fix="make the folder readable") from error


def _scan(root: Path) -> Listing:
    remarks: Counter[str] = Counter()
    homes = _part_folders(root)
    names = _folders(homes["train"])
    beside = sum(entry.name.lower().endswith(ENDINGS) for entry in os.scandir(homes["train"]) if entry.is_file())
    if not names:
        what = f"{beside} pictures but no folders" if beside else "no folder in it"
        raise DataError(f"{homes['train']} has {what}", where="data.root", fix="put the pictures of each class into a folder named for it")
    if len(names) < 2:
        raise DataError(f"{homes['train']} has one class only ({names[0]})", where="data.root", fix="add a folder for a second class")
    parts, files = {}, {}
    with progress(f"scanning {root.name}") as advance:
        for part, home in homes.items():
            present = _folders(home)
            _check_names(part, home, present, names)
            parts[part], files[part] = _part(part, home, names, present, _Walk(remarks, advance))
    if beside:
        remarks["picture(s) beside the class folders, left out"] += beside
    train = files.pop("train")
    shared = int(_repeated(np.concatenate([*files.values(), train]))[-len(train) :].sum()) if len(train) else 0
    if shared:
        remarks["file(s) of train that are also in val or test"] += shared
    warnings = [f"{root}: {number} {remark}" for remark, number in remarks.items()]
    for part in parts.values():
        counts = np.bincount(part.labels, minlength=len(names))
        lacking = [name for name, count in zip(names, counts, strict=True) if not count]
        if lacking and part.name == "train":
            few = ", ".join(lacking[:10])
            raise DataError(f"no pictures in class folder {few}", where=f"data.root {part.root}", fix="put pictures into it, or remove it")
        if lacking:
            warnings.append(f"{part.name} has no pictures of {', '.join(lacking[:10])}{' …' if len(lacking) > 10 else ''}")
    return Listing(names, parts, warnings)


def _part_folders(root: Path) -> dict[str, Path]:
    """Where each part lies. A folder ``train`` that holds folders is the training part; else ``root`` itself is."""
    below = {entry.name.lower(): Path(entry.path) for entry in _directories(root)}
    found = {part: below[name] for part, names in PARTS.items() for name in names if name in below and any(_directories(below[name]))}
    if "train" in found or not found:
        return found or {"train": root}
    other = next(iter(found.values()))
    what = f"{other} stands without a folder train beside it"
    raise DataError(what, where="data.root", fix=f"put the folders of the training classes into {root / 'train'}")


def _directories(folder: Path) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def _folders(home: Path) -> list[str]:
    return natural([entry.name for entry in _directories(home)])


def _check_names(part: str, home: Path, present: list[str], names: list[str]) -> None:
    extra = [name for name in present if name not in names]
    if not extra:
        return
    near = difflib.get_close_matches(extra[0].lower(), [name.lower() for name in names], n=1)
    hint = next((f" to {name}" for name in names if near and name.lower() == near[0]), "")
    raise DataError(
        f"{part} has {len(extra)} class(es) that train has not: {', '.join(extra[:10])}",
        where=f"data.root {home}",
        fix=f"rename {extra[0]}{hint}, or remove it",
    )


def _part(name: str, home: Path, names: list[str], present: list[str], walk: "_Walk") -> tuple[Part, np.ndarray]:
    """The pictures of a part, each file once, and which files they are: (device, inode) of each, uint64 (N, 2)."""
    # Every class folder and those above are known from the start, so that a link to one of them is not walked again as if it were new.
    walk.seen.update(_identity(os.stat(folder)) for folder in (home.parent, home, *(home / each for each in present)))
    ends = []
    for each in names:
        if each in present:
            walk.through(str(home / each), each)
        ends.append(len(walk.numbers) // 4)
    labels = np.repeat(np.arange(len(names)), np.diff(ends, prepend=0))
    files, table = Names(bytes(walk.names)), np.frombuffer(walk.numbers, dtype=np.uint64).reshape(-1, 4)
    repeated = _repeated(table[:, 2:])
    if repeated.any():
        walk.remarks["link(s) to a picture that is listed already, left out"] += int(repeated.sum())
        once = np.flatnonzero(~repeated)
        files, table, labels = Names.of(files.subset(once)), table[once], labels[once]
    digest = hashlib.blake2b(files.joined, digest_size=16)
    digest.update(table[:, :2].tobytes())
    return Part(name, home, files, labels, digest.hexdigest()), table[:, 2:]


class _Walk:
    """Goes through folders and notes the pictures: the name of each, and size, time, device and inode as four numbers."""

    def __init__(self, remarks: Counter[str], advance: Callable[[int], None]) -> None:
        self.remarks, self.advance = remarks, advance
        self.seen: set[tuple[int, int]] = set()
        self.names, self.numbers = bytearray(), array("Q")

    def through(self, folder: str, prefix: str) -> None:
        """Note all pictures below a folder in natural order, hidden names left out."""
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
        for name in natural(list(found)):
            self.advance(1)
            entry = found.pop(name)  # it keeps its status for as long as it lives
            try:
                status = entry.stat()
            except OSError:
                self.remarks["link(s) to nowhere, left out"] += 1
                continue
            if stat.S_ISDIR(status.st_mode):
                if _identity(status) in self.seen:
                    self.remarks["link(s) to a folder that is read already, not followed"] += 1
                    continue
                self.seen.add(_identity(status))
                self.through(entry.path, f"{prefix}/{name}")
            elif not stat.S_ISREG(status.st_mode) or not name.lower().endswith(ENDINGS):
                self.remarks["file(s) that are no pictures, left out"] += 1
            else:
                self.names += os.fsencode(f"{prefix}/{name}\0")
                self.numbers.extend((status.st_size, status.st_mtime_ns & (1 << 64) - 1, status.st_dev, status.st_ino))


def _repeated(files: np.ndarray) -> np.ndarray:
    """Which rows of (device, inode) (N, 2) are of a file that stands further up: bool (N,)."""
    order = np.lexsort(files.T)  # equal ones stay in their order
    again = np.zeros(len(files), dtype=bool)
    again[order[1:]] = (files[order[1:]] == files[order[:-1]]).all(axis=1)
    return again


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
