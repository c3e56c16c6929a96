"""Runs of the product's own tasks without composing again what was composed: that takes longer than these runs do."""

import copy
import functools
from pathlib import Path
from typing import Any

import yaml
from faults.composed import composition

from cnntrain.config import run_folder
from cnntrain.config.stored import read_config
from cnntrain.job import Job
from cnntrain.task.resume import resume

CONF = Path(__file__).resolve().parents[2] / "conf"
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}


_composition = functools.cache(composition)


def _set(tree: dict[str, Any], word: str) -> None:
    key, _, value = word.partition("=")
    *nodes, leaf = key.split(".")
    for node in nodes:
        tree = tree[node]
    assert leaf in tree, f"{key} is no key"
    tree[leaf] = _value(value)


def _value(text: str) -> Any:
    return text if text in ("on", "off") else yaml.safe_load(text)  # as Hydra reads it, to which these are words


def start(folder: str | Path, *words: str) -> dict[str, Any]:
    """``cnntrain WORDS hydra.run.dir=FOLDER``; words for a group (``optimizer=adam``) are composed, those for a key are laid over that."""
    groups = tuple(word for word in words if word.partition("=")[0] in GROUPS | {"data.root"})  # which has no default
    made = _composition(*groups)
    tree = copy.deepcopy(dict(made.tree))
    for word in words:
        if word not in groups:
            _set(tree, word)
    job = Job.of(tree, files=made.files)
    return job.call(run_folder.create(Path(folder), given=True), ["cnntrain", *words])


def go_on(folder: str | Path, *words: str) -> dict[str, Any]:
    """``cnntrain resume run=FOLDER WORDS``."""
    tree = read_config(Path(folder))
    changes = {}
    for word in words:
        key, _, value = word.partition("=")
        old = functools.reduce(lambda node, name: node[name], key.split("."), tree)
        changes[key] = (old, _value(value))
        _set(tree, word)
    return resume(run=str(folder), config=Job.of(tree, trust=[]).config, changes=changes)
