"""Which options and keys are in force, as far as the config files' outlines and the words of a command tell: nothing is composed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cnntrain.config.find import Files
from cnntrain.config.outline import Key, Outline, options, read


class Slot(NamedTuple):
    """A place below a node that is filled from a group: ``model.net`` from ``model``, written ``model@model.net=OPTION``."""

    group: str
    place: str
    default: str
    option: str  # in force

    @property
    def key(self) -> str:
        """What stands before the ``=`` of a word that chooses its option."""
        return f"{self.group}@{self.place}"


def choices(files: Files, outline: Outline, words: Iterable[str]) -> dict[str, list[str]]:
    """The options that are in force, group by group: the verb's defaults, then those of the data set, then the words'."""
    said = dict(word.split("=", 1) for word in words if "=" in word)
    chosen = {group: options(said.get(group, text)) for group, text in outline.choices.items()}
    for group, names in list(chosen.items()):
        for name in names:
            path = files.get(group, {}).get(name)
            for other, text in (read(path).overrides if path is not None else {}).items():
                if other in chosen and other not in said:
                    chosen[other] = options(text)
    return chosen


def slots(files: Files, outline: Outline, words: Iterable[str]) -> dict[str, Slot]:
    """The places within the nodes in force that are filled from a group, by the word that chooses their option (``model@model.net``)."""
    words = list(words)
    said = dict(word.split("=", 1) for word in words if "=" in word)
    found: dict[str, Slot] = {}

    def look(one: Outline, place: str, above: tuple[Path, ...] = ()) -> None:
        for entry, default in one.nested.items():
            group, _, package = entry.partition("@")
            inner = package.removeprefix("_global_.") if package.startswith("_global_.") or not place else f"{place}.{package}"
            key = f"{group}@{inner}"
            if key in found:
                continue
            found[key] = Slot(group, inner, default, said.get(key, forced.get(key, default)))
            path = files.get(group, {}).get(found[key].option)
            if path is not None and path not in above:  # a file that leads back to itself is Hydra's to refuse
                look(read(path), inner, (*above, path))

    nodes = [
        (read(path), group)
        for group, names in choices(files, outline, words).items()
        for path in (files.get(group, {}).get(name) for name in names)
        if path is not None
    ]
    forced = {key: text for one, _ in nodes for key, text in one.overrides.items()}
    for one, place in [(outline, ""), *((one, _place(group, one)) for one, group in nodes)]:
        look(one, place)
    return found


def choosers(files: Files, outline: Outline, words: Iterable[str]) -> dict[str, str]:
    """What can stand before the ``=`` of a word that chooses an option, with the group of each: ``model``, and ``model@model.net``."""
    found = {group: group for group in outline.choices} | {key: slot.group for key, slot in slots(files, outline, words).items()}
    return {word: group for word, group in found.items() if group in files}


def keys(files: Files, verb: str, words: Iterable[str]) -> list[Key]:
    """All keys of a verb as the words choose its options."""
    words = list(words)
    outline = read(files[""][verb])
    found = list(outline.keys)
    for group, names in choices(files, outline, words).items():
        for name in names:
            found += keys_of(files, group, name)
    for slot in slots(files, outline, words).values():
        found += keys_of(files, slot.group, slot.option, place=slot.place)
    return found


def keys_of(files: Files, group: str, option: str, *, place: str | None = None) -> list[Key]:
    """The keys of an option at its group's place, or at another; none where there is no such option."""
    path: Path | None = files.get(group, {}).get(option)
    if path is None:
        return []
    outline = read(path)
    above = _place(group, outline) if place is None else place
    return [key._replace(name=f"{above}.{key.name}" if above else key.name) for key in outline.keys]


def _place(group: str, outline: Outline) -> str:
    """Where a group's option stands in the tree: ``augment/x`` at ``augment.x``, a recipe at the root."""
    return "" if outline.whole_tree else group.replace("/", ".")
