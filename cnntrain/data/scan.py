"""Which pictures a folder holds: names, classes, sizes and times; nothing is opened.

``ROOT/CLASS/…`` or ``ROOT/{train,val,test}/CLASS/…``. Class names and numbers come from train, and the other parts are mapped by name.
Order is natural (``2.jpg`` before ``10.jpg``) and the same on every file system. Each real file counts once, whatever links lead to it.
"""

import difflib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cnntrain.data.decode import SUFFIXES
from cnntrain.errors import DataError

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass
class Part:
    """The pictures of train, val or test: file names below ``root`` with ``/``, and of each its label, bytes, time and identity."""

    name: str
    root: Path
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    inodes: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Listing:
    """All parts that a folder has, the classes in order, and remarks for the user."""

    classes: list[str]
    parts: dict[str, Part]
    warnings: list[str]


def natural(name: str) -> tuple[list[str | int], str]:
    """A sort key by which numbers within names count as numbers."""
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


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
    names = list(_folders(homes["train"]))
    beside = sum(Path(entry.name).suffix.lower() in SUFFIXES for entry in os.scandir(homes["train"]) if entry.is_file())
    if not names:
        what = f"{beside} pictures but no folders" if beside else "no folder in it"
        raise DataError(f"{homes['train']} has {what}", where="data.root", fix="put the pictures of each class into a folder named for it")
    if len(names) < 2:
        raise DataError(f"{homes['train']} has one class only ({names[0]})", where="data.root", fix="add a folder for a second class")
    parts = {}
    for part, home in homes.items():
        present = list(_folders(home))
        _check_names(part, home, present, names)
        parts[part] = _part(part, home, names, present, remarks)
    if beside:
        remarks["picture(s) beside the class folders, left out"] += beside
    shared = set(parts["train"].inodes) & {inode for part in ("val", "test") if part in parts for inode in parts[part].inodes}
    if shared:
        remarks["file(s) of train that are also in val or test"] += len(shared)
    warnings = [f"{root}: {number} {remark}" for remark, number in remarks.items()]
    for part in parts.values():
        lacking = [name for k, name in enumerate(names) if k not in set(part.labels)]
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
    return sorted((entry.name for entry in _directories(home)), key=natural)


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


def _part(name: str, home: Path, names: list[str], present: list[str], remarks: Counter[str]) -> Part:
    part = Part(name, home)
    # Every class folder and those above are known from the start, so that a link to one of them is not walked again as if it were new.
    seen = {_identity(os.stat(folder)) for folder in (home.parent, home, *(home / each for each in present))}
    files: set[tuple[int, int]] = set()
    for label, each in enumerate(names):
        if each not in present:
            continue
        for path, status in _walk(home / each, each, seen, remarks):
            if _identity(status) in files:
                remarks["link(s) to a picture that is listed already, left out"] += 1
                continue
            files.add(_identity(status))
            part.files.append(path)
            part.labels.append(label)
            part.sizes.append(status.st_size)
            part.times.append(status.st_mtime_ns)
            part.inodes.append(_identity(status))
    return part


def _walk(folder: Path, prefix: str, seen: set[tuple[int, int]], remarks: Counter[str]) -> Iterator[tuple[str, os.stat_result]]:
    """All pictures below a class folder in natural order, hidden names left out: (path below the part's root, status)."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: natural(entry.name))
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        try:
            status = entry.stat()
        except OSError:
            remarks["link(s) to nowhere, left out"] += 1
            continue
        path = f"{prefix}/{entry.name}"
        if stat.S_ISDIR(status.st_mode):
            if _identity(status) in seen:
                remarks["link(s) to a folder that is read already, not followed"] += 1
                continue
            seen.add(_identity(status))
            yield from _walk(Path(entry.path), path, seen, remarks)
        elif not stat.S_ISREG(status.st_mode) or os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
            remarks["file(s) that are no pictures, left out"] += 1
        else:
            yield path, status


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
