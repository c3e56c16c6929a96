"""The command line in this process, told hundreds of wrong things: files that Hydra has composed once are not composed again."""

import ast
import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cnntrain.cli import main
from cnntrain.config import compose, find

ONE_LINE = re.compile(r"error: .+\. Fix: .+\n")
SHIPPED = find.files([find.shipped()])
ROOT = find.shipped().parent
GIVEN = {  # the keys that have no value
    "predict": ("checkpoint=c", "images=i"),
    "filter": ("images=i", "out=o"),
    "evaluate": ("checkpoint=c",),
    "resume": ("run=r",),
}
_bases: dict[tuple, dict] = {}
_made: dict[tuple, Any] = {}


class Remembering(compose.Composer):
    """Composes as a sweep does, which lays values over files that are composed already, and keeps these for the next command."""

    def __init__(self, verb, where, *, many=False):
        super().__init__(verb, where, many=True)
        self._key = (verb, *where)
        self._bases = _bases.setdefault(self._key, {})

    def _by_hydra(self, lines):
        key = (*self._key, *lines)
        if key not in _made:
            _made[key] = super()._by_hydra(lines)
        return copy.deepcopy(_made[key])


def told(capsys: pytest.CaptureFixture, *words: str, code: int = 2) -> str:
    """The one line that a wrong command is answered with; all that is promised of each of them holds."""
    known = set(sys.modules)
    capsys.readouterr()
    ended = main(list(words))
    out, line = capsys.readouterr()
    assert ended == code, (words, ended, line)
    assert out == "" and ONE_LINE.fullmatch(line), (words, line)
    assert not {"torch", "torchvision"} & (set(sys.modules) - known), f"{words}: torch was imported"
    assert not any(Path.cwd().iterdir()), f"{words} left {list(Path.cwd().iterdir())}"
    return line


class Leaf(NamedTuple):
    """A key that takes a value: the verb and the words by which it is there, and its type as the target's signature has it."""

    verb: str
    words: tuple[str, ...]
    key: str
    kind: str
    source: str  # the target whose parameter it is

    @property
    def command(self) -> tuple[str, ...]:
        """The command without a value for the key."""
        return (self.verb, *(word for word in (*GIVEN.get(self.verb, ()), *self.words) if not word.startswith(f"{self.key}=")))


def leaves() -> list[Leaf]:
    """Every parameter that a shipped file lists, once for each target; the command line's own keys, too."""
    found: dict[tuple[str, str], Leaf] = {}
    for verb, path in SHIPPED[""].items():
        tree = yaml.safe_load(path.read_text())
        tree["sweep"] = {"_target_": "cnntrain.job.Limits", **tree["sweep"]} if "sweep" in tree else None
        for key, target in _parameters(tree, ""):
            found.setdefault((target, key), Leaf(verb, (), key, _kinds(target).get(key.rpartition(".")[2], ""), target))
    for words, group, path in _options():
        for key, target in _parameters(yaml.safe_load(path.read_text()), group):
            leaf = Leaf("train", words, key, _kinds(target).get(key.rpartition(".")[2], ""), target)
            found.setdefault((target, key), leaf)
    return [leaf for leaf in found.values() if leaf.kind and leaf.kind != "Recipe"]


def _options() -> Iterator[tuple[tuple[str, ...], str, Path]]:
    """Each option's words, group and file. The words choose an option of every group at once, so that few trees are composed."""
    groups = {group: list(options.items()) for group, options in SHIPPED.items() if group not in ("", "experiment", "augment")}
    for turn in range(max(map(len, groups.values()))):
        chosen = {group: options[turn % len(options)] for group, options in groups.items()}
        words = tuple(f"{group}={name}" for group, (name, _) in chosen.items())
        words += ("data.root=d",) if chosen["data"][0] == "folder" else ()
        yield from ((words, group, path) for group, (_, path) in chosen.items() if turn < len(groups[group]))
    every = (f"augment=[{','.join(SHIPPED['augment'])}]",)
    yield from ((every, "augment", path) for path in SHIPPED["augment"].values())


def _parameters(node: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """The dotted keys of a node and of those within it, each with its target."""
    for key, value in node.items():
        at = f"{place}.{key}" if place else key
        if isinstance(value, dict) and "_target_" in value:
            yield from _parameters(value, at)
        elif key not in ("_target_", "defaults", "hydra", "sweep"):
            yield at, node["_target_"] if "_target_" in node and key not in ("trust", "debug") else "cnntrain.job.Settings"


def _spelt_out(annotation: ast.expr) -> str:
    """An annotation with the names of lists of words that layers share (``Stem``) as the words themselves."""
    text = ast.unparse(annotation)
    for path in (ROOT / "cnntrain" / "layer").glob("*.py"):
        for name, words in re.findall(r"^([A-Z]\w+) = (Literal\[.*\])$", path.read_text(), flags=re.MULTILINE):
            text = re.sub(rf"\b{name}\b", words, text)
    return text


def _kinds(target: str) -> dict[str, str]:
    """The annotations of a target's parameters as they are written: read here without the product's own reader."""
    home, _, name = target.rpartition(".")
    path = ROOT.joinpath(*home.split(".")).with_suffix(".py")
    for node in ast.parse(path.read_text()).body if path.exists() else []:
        if isinstance(node, ast.ClassDef) and node.name == name:
            node = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        if isinstance(node, ast.FunctionDef) and node.name in (name, "__init__"):
            return {one.arg: _spelt_out(one.annotation) for one in [*node.args.args, *node.args.kwonlyargs] if one.annotation}
    return {}
