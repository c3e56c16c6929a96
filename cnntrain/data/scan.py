"""Which pictures a folder holds: names, classes, sizes and times; nothing is opened.

``ROOT/CLASS/…`` or ``ROOT/{train,val,test}/CLASS/…``. Class names and numbers come from train, and the other parts are mapped by name.
Order is natural (``2.jpg`` before ``10.jpg``) and the same on every file system. Each real file counts once, whatever links lead to it.
"""

import hashlib
import os
import re
import stat
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.decode import stamp
from cnntrain.data.layout import ENDINGS, check_classes, check_train_classes, class_folders, is_hidden, missing, part_folders, pictures_in
from cnntrain.data.names import Names
from cnntrain.data.progress import progress
from cnntrain.errors import DataError

ZEROS = bytes.maketrans(b"123456789", b"000000000")
NUMBER = re.compile("0*([0-9]+)")


@dataclass
class Part:
    """The pictures of train, val or test: file names below ``root`` with ``/``, the label of each (int64 (N,)), and whether it changed.

    ``stamps`` are the size and time of each file, uint64 (N, 2) (:func:`cnntrain.data.decode.stamp`), ``digest`` that of all names and
    stamps. Of a file no more than this is kept: a folder may hold millions.
    """

    name: str
    root: Path
    files: Names
    labels: np.ndarray
    stamps: np.ndarray
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
    try:
        if not root.is_dir():
            raise missing(root)
        return _scan(root)
    except OSError as error:
        fix = f"chmod -R u+rX {error.filename}" if isinstance(error, PermissionError) else "give data.root another folder"
        raise DataError(f"cannot read {error.filename}: {error.strerror}", where="data.root", fix=fix) from error


def _scan(root: Path) -> Listing:
    remarks: Counter[str] = Counter()
    others: Counter[str] = Counter()
    homes = part_folders(root, remarks)
    names = natural(class_folders(homes["train"]))
    check_train_classes(root, homes["train"], names, remarks)
    parts, files = {}, {}
    with progress(f"scanning {root.name}") as advance:
        for name, home in homes.items():
            present = class_folders(home)
            check_classes(name, home, present, names)
            parts[name], files[name] = _part(name, home, names, set(present), _Walk(remarks, others, advance))
    strange = f"no pictures ({', '.join(f'{number} {ending}' for ending, number in others.most_common(5))})" if others else ""
    if others:
        remarks[f"file(s) that are {strange}, left out"] = sum(others.values())
    beside = pictures_in(homes["train"])
    if beside:
        remarks["picture(s) beside the class folders, left out"] += beside
    warnings = [f"{root}: {number} {remark}" for remark, number in remarks.items()]
    warnings += [line for name in homes if name != "train" for line in _linked(parts, files, name)]
    warnings += [line for part in parts.values() for line in _lacking(part, names, strange)]
    return Listing(names, parts, warnings)


def _linked(parts: dict[str, Part], files: dict[str, np.ndarray], other: str) -> list[str]:
    """A remark on the files of train that another part has too, by whichever links."""
    shared = _repeated(np.concatenate([files["train"], files[other]]))[len(files["train"]) :]
    if not shared.any():
        return []
    row = int(np.argmax(shared))
    original = int(np.argmax((files["train"] == files[other][row]).all(axis=1)))
    names = f"{other}/{parts[other].files[row]} is train/{parts['train'].files[original]}"
    return [f"{int(shared.sum())} file(s) of {other} are also in train: {names}"]


def _lacking(part: Part, names: list[str], strange: str) -> list[str]:
    """A remark on classes of which val or test has no pictures. In train, or of all classes, that is an error."""
    counts = np.bincount(part.labels, minlength=len(names))
    lacking = [name for name, count in zip(names, counts, strict=True) if not count]
    few = f"{', '.join(lacking[:10])}{' …' if len(lacking) > 10 else ''}"
    if lacking and (part.name == "train" or len(lacking) == len(names)):
        instead = f"; files that are {strange} were found" if strange else ""
        what = f"{len(lacking)} of {len(names)} class folders of {part.name} have no picture in them: {few}{instead}"
        raise DataError(what, where=f"data.root {part.root}", fix=f"put pictures into {part.root / lacking[0]}, or remove it")
    return [f"{part.name} has no pictures of {few}"] if lacking else []


def _part(name: str, home: Path, names: list[str], present: set[str], walk: "_Walk") -> tuple[Part, np.ndarray]:
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
    stamps = np.ascontiguousarray(table[:, :2])
    digest = hashlib.blake2b(files.joined, digest_size=16)
    digest.update(stamps)
    return Part(name, home, files, labels, stamps, digest.hexdigest()), table[:, 2:]


class _Walk:
    """Goes through folders and notes the pictures: the name of each, and size, time, device and inode as four numbers."""

    def __init__(self, remarks: Counter[str], others: Counter[str], advance: Callable[[int], None]) -> None:
        self.remarks, self.others, self.advance = remarks, others, advance  # others: the endings of what is no picture
        self.seen: set[tuple[int, int]] = set()
        self.names, self.numbers = bytearray(), array("Q")

    def through(self, folder: str, prefix: str) -> None:
        """Note all pictures below a folder in natural order, hidden names left out."""
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries if not is_hidden(entry.name)}
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
                self.others[os.path.splitext(name)[1].lower() or "without an ending" if stat.S_ISREG(status.st_mode) else "pipes"] += 1
            else:
                self.names += os.fsencode(f"{prefix}/{name}\0")
                self.numbers.extend((*stamp(status), status.st_dev, status.st_ino))


def _repeated(files: np.ndarray) -> np.ndarray:
    """Which rows of (device, inode) (N, 2) are of a file that stands further up: bool (N,)."""
    order = np.lexsort(files.T)  # equal ones stay in their order
    again = np.zeros(len(files), dtype=bool)
    again[order[1:]] = (files[order[1:]] == files[order[:-1]]).all(axis=1)
    return again


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
