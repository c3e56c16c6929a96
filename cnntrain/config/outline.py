"""Reads what ``--help`` and completion say of a config file: its comments, keys and defaults, line by line.

Not a YAML parser: Hydra reads the config. This reader takes the plain shapes that config files have, skips what it does not
know, never fails, and starts ten times faster.
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"(?P<indent> *)(?P<item>- +)?(?P<key>[\w/@.-][\w/@. -]*?) *:(?: +(?P<value>.*))?")


class Key(NamedTuple):
    """One key of a file: its dotted name, its default as written, what it means."""

    name: str
    default: str
    meaning: str


class Outline(NamedTuple):
    """What a config file says of itself. ``choices``: its defaults list, group → option(s); ``overrides``: its ``override`` entries.

    An entry for a place within the file's own node is in ``nested``: ``{"model@net": "lenet5"}``.
    """

    meaning: str
    examples: list[str]
    whole_tree: bool
    choices: dict[str, str]
    overrides: dict[str, str]
    nested: dict[str, str]
    keys: list[Key]


_EMPTY = Outline("", [], False, {}, {}, {}, [])


def read(path: Path) -> Outline:
    """The outline of a file, not to be changed; an unreadable one is empty."""
    try:
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)
    except OSError:
        return _EMPTY


@functools.lru_cache(maxsize=512)
def _read(path: Path, mtime: int, size: int) -> Outline:
    """By time and size, so that an edited file is read again."""
    outline = Outline("", [], False, {}, {}, {}, [])
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    heading = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    words = [text for text in heading if text and not text.startswith(("@package", "example:"))]
    examples = [text.removeprefix("example:").strip() for text in heading if text.startswith("example:")]
    outline = outline._replace(meaning=words[0] if words else "", examples=examples, whole_tree="@package _global_" in heading)
    parents: list[tuple[int, str]] = []
    for line in lines:
        match = _LINE.fullmatch(line.rstrip())
        if match is None or line.lstrip().startswith("#"):
            _extend_list(outline, line, parents)
            continue
        indent = len(match["indent"])
        value, meaning = split_comment(match["value"] or "")
        while parents and parents[-1][0] >= indent and not (match["item"] and parents[-1][0] == indent):
            parents.pop()
        top = parents[0][1] if parents else match["key"]
        if top == "defaults":
            _take_default(outline, match["key"], value)
        elif top != "hydra" and not match["item"] and match["key"] != "_target_":
            name = ".".join([parent for _, parent in parents] + [match["key"]])
            outline.keys.append(Key(name, value, meaning))
        if not value and not match["item"]:
            parents.append((indent, match["key"]))
    return outline._replace(keys=_leaves(outline.keys))


def meaning(path: Path) -> str:
    """The first comment line of a file."""
    return read(path).meaning


def split_comment(text: str) -> tuple[str, str]:
    """A value as written and the comment behind it."""
    quote = ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (place == 0 or text[place - 1].isspace()):
            return text[:place].strip(), text[place + 1 :].strip()
    return text.strip(), ""


def options(text: str) -> list[str]:
    """The options of a choice as written: ``[crop, flip]`` has two, ``null`` none."""
    names = [name.strip().strip("'\"") for name in text.strip().strip("[]").split(",")]
    return [name for name in names if name and name != "null"]


def _take_default(outline: Outline, key: str, value: str) -> None:
    if key == "defaults":
        return
    words = key.split()
    group, _, package = words[-1].lstrip("/").partition("@")
    own = package.removeprefix("_global_.") in ("", group)
    if words[0] == "override":
        outline.overrides[group if own else f"{group}@{package}"] = value
    else:
        (outline.choices if own else outline.nested)[group if own else f"{group}@{package}"] = value


def _extend_list(outline: Outline, line: str, parents: list[tuple[int, str]]) -> None:
    """A list written one item a line is shown on one line."""
    item = re.fullmatch(r" *- +([^:]+)", line)
    if item is None or not parents or not outline.keys or parents[0][1] in ("defaults", "hydra"):
        return
    last = outline.keys[-1]
    value, _ = split_comment(item[1])
    outline.keys[-1] = last._replace(default=f"{last.default[:-1]}, {value}]" if last.default else f"[{value}]")


def _leaves(keys: list[Key]) -> list[Key]:
    """The keys that hold values: a key above others is no key of its own."""
    inner = {name.rpartition(".")[0] for name, _, _ in keys}
    return [key for key in keys if key.name not in inner]
