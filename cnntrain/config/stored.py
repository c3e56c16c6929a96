"""The config of a run that is to go on: read from its folder, with the user's changes laid over it as plain values."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from cnntrain.config.words import leaves, walk
from cnntrain.errors import CheckpointError, ConfigError

Changes = dict[str, tuple[Any, Any]]
MOST_CHARACTERS, MOST_VALUES = 200_000, 20_000  # of a config; one that was composed has some hundred values


def read_config(run: Path) -> dict[str, Any]:
    """The plain config in a run's folder; nothing in it is resolved.

    Raises:
        CheckpointError: no run is there, or its config cannot be read.
    """
    path = run / "config.yaml"
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")  # a pipe would be waited for
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"it has more than {MOST_CHARACTERS:,} characters")
        _look_through(yaml.compose(text, Loader=yaml.SafeLoader))
        tree = yaml.safe_load(text)
        if not isinstance(tree, dict) or "_target_" not in tree:
            raise ValueError("it has no _target_")
    except OSError as error:
        raise CheckpointError(
            f"{run} is no run: {error.strerror}", where=str(path), fix="give run= the folder that holds config.yaml"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"the run's config is damaged: {why}", where=str(path), fix="restore this file, or start a new run"
        ) from error
    return tree


def _look_through(root: yaml.Node | None) -> None:
    """Refuse what a config is not: with YAML's aliases and merge keys a few lines can stand for 10^9 values.

    Raises:
        ValueError: it has more values than a config can have, or a key twice.
    """
    count, rest = 0, [root]
    while rest:
        node = rest.pop()
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values")
        if isinstance(node, yaml.SequenceNode):
            rest.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys = [key.value if isinstance(key, yaml.ScalarNode) else "?" for key, _ in node.value]
            if len(set(keys)) < len(keys) or "<<" in keys:
                raise ValueError(f"a key stands twice, or is <<, from line {node.start_mark.line + 1} on")
            rest.extend(item for pair in node.value for item in pair)


def lay_over(config: Mapping[str, Any], overrides: Sequence[Override]) -> tuple[dict[str, Any], Changes]:
    """The config with the overrides' values in it, and what they change: {key: (old, new)}.

    Raises:
        ConfigError: a key that the run does not have, a change of group, a value that is none.
    """
    tree = copy.deepcopy(dict(config))
    paths = [path for path, _ in leaves(tree)]
    changes: Changes = {}
    for override in overrides:
        line, key = override.input_line or "", override.key_or_group
        if override.is_delete() or override.is_sweep_override():
            raise ConfigError(f"{key} can only be set to one value when a run goes on", where=line, fix=f"{key}=VALUE")
        value = override.value()
        if "${" in str(value):
            raise ConfigError("a run that goes on takes plain values", where=line, fix=f"{key}=VALUE without ${{}}")
        old = {} if key == "augment" else walk(tree, key.replace("/", "."), paths, line)  # it may have none
        if isinstance(old, Mapping):
            inner = next((name for name in old if name != "_target_"), "KEY")
            fix = f"start a new run with {line}" if "_target_" in old or key == "augment" else f"set its keys: {key}.{inner}=VALUE"
            raise ConfigError(f"a run that goes on keeps its {key}", where=line, fix=fix)
        parent, _, last = key.rpartition(".")
        node: Any = walk(tree, parent, paths, line) if parent else tree
        node[int(last) if isinstance(node, list) else last] = value
        if value != old:
            changes[key] = (old, value)
    return tree, changes
