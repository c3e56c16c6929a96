"""Where in a folder the parts train, val and test lie, and the classes in each: by names alone, as people call them."""

import difflib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from cnntrain.data.decode import SUFFIXES
from cnntrain.errors import DataError

PARTS = {
    "train": ("train", "training", "training_set", "train_set"),
    "val": ("val", "valid", "validation", "dev", "validation_set", "val_set"),
    "test": ("test", "testing", "test_set"),
}
# What archives, network drives and systems leave behind; some hold pictures (thumbnails).
LEFT_BEHIND = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"}
RESULTS = "outputs"  # where runs lie, in the folder in which they were started
ENDINGS = tuple(SUFFIXES)
PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".rar", ".7z")


def _is_part(name: str) -> bool:
    return any(name.lower().rstrip("_-0123456789") in names for names in PARTS.values())


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's data."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def missing(root: Path) -> DataError:
    """What to say where ``root`` is no folder."""
    if root.is_file():
        fix = "unpack it, and give data.root the folder that comes of it" if root.suffix.lower() in PACKED else f"data.root={root.parent}"
        return DataError(f"{root} is a file, not a folder", where="data.root", fix=fix)
    beside = [entry.name for entry in directories(root.parent)] if root.parent.is_dir() else []
    near = difflib.get_close_matches(root.name, beside, n=1)
    fix = f"data.root={root.parent / near[0]}" if near else "data.root=DIR with a folder of pictures for each class"
    return DataError(f"there is no folder {root.absolute()}", where="data.root", fix=fix)


def directories(folder: Path) -> Iterator[os.DirEntry]:
    """The folders in a folder, without hidden ones; nor are our own results a class where the work is done among the pictures."""
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not is_hidden(entry.name) and entry.is_dir() and not _is_results(entry))


def _is_results(entry: os.DirEntry) -> bool:
    return entry.name == RESULTS and os.path.exists(RESULTS) and os.path.samefile(entry.path, RESULTS)


def pictures_in(folder: Path) -> int:
    """How many pictures lie in a folder itself, by their endings."""
    with os.scandir(folder) as entries:
        return sum(entry.name.lower().endswith(ENDINGS) and not is_hidden(entry.name) and entry.is_file() for entry in entries)


def part_folders(root: Path, remarks: Counter[str]) -> dict[str, Path]:
    """The folder of each part that is there. A folder ``train`` that holds folders is the training part; else ``root`` itself is.

    Raises:
        DataError: a part has two folders, there are others but no train, or val has pictures without classes.
    """
    below = sorted(entry.name for entry in directories(root))
    called = {part: [name for name in below if name.lower() in names] for part, names in PARTS.items()}
    full = {part: [name for name in names if any(directories(root / name))] for part, names in called.items()}
    for part, names in full.items():
        if len(names) > 1:
            what = f"{root} has {len(names)} folders for {part}: {', '.join(names)}"
            raise DataError(what, where="data.root", fix=f"move {names[1]} out of it")
    found = {part: root / names[0] for part, names in full.items() if names}
    if "train" in found:
        _check_beside(root, below, called, found, remarks)
        return found
    if found:
        other = next(iter(found.values()))
        what = f"{other} stands without a folder train beside it"
        raise DataError(what, where="data.root", fix=f"put the folders of the training classes into {root / 'train'}")
    if called["train"] and all(_is_part(name) for name in below):  # they are no classes, but parts without classes (Kaggle's train, test1)
        return {"train": root / called["train"][0]}
    return {"train": root}


def _check_beside(root: Path, below: list[str], called: dict[str, list[str]], found: dict[str, Path], remarks: Counter[str]) -> None:
    """Say what stands beside train but is no part; refuse a validation part without classes, which would silently not be used."""
    beside = sorted(name for name in below if root / name not in found.values())
    for name in [name for name in beside if name in called["val"] + called["test"] and pictures_in(root / name)]:
        what = f"{root / name} has {pictures_in(root / name)} pictures but no folders"
        if name in called["val"]:
            raise DataError(what, where="data.root", fix=f"put them into folders of their classes, or move {name} out of {root}")
        remarks[f"test part that is left out: {what}"] = 1  # pictures that nobody has labelled are for cnntrain predict
        beside.remove(name)
    if beside:
        remarks[f"folder(s) beside train, left out: {', '.join(beside[:10])}{' …' if len(beside) > 10 else ''}"] = len(beside)


def class_folders(home: Path) -> list[str]:
    """The names of the classes in a part's folder.

    Raises:
        DataError: a name is no text.
    """
    names = [entry.name for entry in directories(home)]
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            what = f"the name of class folder {name.encode('utf-8', 'surrogateescape')!r} is not UTF-8"
            raise DataError(what, where=f"data.root {home}", fix="rename it")
    return names


def _folded(name: str) -> str:
    """A name in one spelling: é is one letter on one system and two on another, Cat and cat are the same class to their owner."""
    return unicodedata.normalize("NFC", name).casefold()


def check_train_classes(root: Path, home: Path, names: list[str], remarks: Counter[str]) -> None:
    """Refuse fewer than two classes, and say where two are spelt alike.

    Raises:
        DataError: there is nothing to tell apart; it says what was found instead.
    """
    if not names:
        beside = pictures_in(home)
        what = f"{home} has {f'{beside} pictures but no folders' if beside else 'no folder in it'}"
        raise DataError(what, where="data.root", fix="put the pictures of each class into a folder named for it")
    if len(names) == 1:
        inner = home / names[0]
        what, fix = f"{home} has one class only ({names[0]})", "add a folder for a second class"
        if len(list(directories(inner))) > 1:
            fix = f"data.root={inner}" if home == root else f"move the folders in {inner} up into {home}"
        raise DataError(what, where="data.root", fix=fix)
    alike = defaultdict(list)
    for name in names:
        alike[_folded(name)].append(name)
    for twins in alike.values():
        if len(twins) > 1:
            remarks[f"class folders whose names differ in case only, each a class of its own: {', '.join(twins)}"] = len(twins)


def check_classes(part: str, home: Path, present: list[str], names: list[str]) -> None:
    """Refuse a class that train lacks.

    Raises:
        DataError: there is one; the fix has the nearest of train's names.
    """
    extra = sorted(set(present) - set(names))
    if not extra:
        return
    spelt = {_folded(name): name for name in names}
    near = difflib.get_close_matches(_folded(extra[0]), spelt, n=1)
    hint = f" to {spelt[near[0]]}" if near else ""
    if near and unicodedata.normalize("NFC", extra[0]) == unicodedata.normalize("NFC", spelt[near[0]]):
        hint += " (the same letters in another Unicode form)"
    raise DataError(
        f"{part} has {len(extra)} class(es) that train has not: {', '.join(extra[:10])}{' …' if len(extra) > 10 else ''}",
        where=f"data.root {home}",
        fix=f"rename {extra[0]}{hint}" if hint else f"remove {home / extra[0]}",
    )
