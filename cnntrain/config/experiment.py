"""An experiment with other parts than its own: what becomes of its keys for a part that the command has replaced.

`experiment=imagenet_resnet50 data=digits` keeps what the experiment says of `data` as far as `digits` has such keys (`image_size`), and
leaves out the rest (`resize`), which is told. For another optimizer nothing is kept: a learning rate for SGD says nothing of AdamW's.
A key that the experiment's own option does not have either stays, to be refused as the typo that it is; so do those of the command itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, open_dict

from cnntrain.config import outline, signature
from cnntrain.config.find import Files
from cnntrain.errors import ConfigError

_OF_ITS_OWN = ("optimizer",)  # a group whose options mean different things by the same key


class LeftOut(NamedTuple):
    """Keys of an experiment for an option that the command has replaced, and what is told of it."""

    keys: list[str]
    note: str


def choices_of(hydra: Any) -> dict[str, Any]:
    """The option that each group has, by group, from Hydra's own node; that of the group's own place, not of one within another node."""
    choices = hydra.runtime.choices
    return {key.split("@")[0]: value for key, value in sorted(choices.items(), key=lambda item: "@" not in item[0])}


def content_of(hydra: Any, files: Files) -> dict[str, Any]:
    """What the chosen experiment's file says, nothing resolved; empty where none is chosen."""
    path = _file(hydra, files)
    return _content(path) if path is not None else {}


def leave_out(config: DictConfig, hydra: Any, files: Files, verb: str) -> list[LeftOut]:
    """Take from a composed ``config`` what its experiment says of options that were replaced.

    ``hydra`` is Hydra's own node. An experiment is written for ``train``: what another verb has no use for is left out without a word.
    """
    choices, path = choices_of(hydra), _file(hydra, files)
    if path is None:
        return []
    own = _own_options(path, files, outline.read(files[""][verb]).choices)
    words = list(hydra.overrides.task)
    with open_dict(config):
        for key in _of_training_alone(files, verb) & config.keys() - {word.partition("=")[0].partition(".")[0] for word in words}:
            del config[key]
    typed = {".".join(word.lstrip("+~").partition("=")[0].split(".")[:2]) for word in words}
    left = []
    for part, said in _content(path).items():
        before, now = _names(own.get(part)), _names(choices.get(part))
        if part == "augment":  # of a group that takes a list Hydra keeps no record: its options are those with a target
            nodes = (config.get(part) or {}).items()
            now = f"[{','.join(str(key) for key, node in nodes if isinstance(node, DictConfig) and '_target_' in node)}]"
        if before == now or not before or not isinstance(said, dict) or not isinstance(config.get(part), DictConfig):
            continue
        if any(word.lstrip("+").startswith(f"{part}={{") for word in words):  # keys of its own, too: which are whose?
            continue
        keys = [key for key in _foreign(list(said), config[part], part, before, now, files) if f"{part}.{key}" not in typed]
        _put_back(config, part, keys, files.get(part, {}).get(now) if part in _OF_ITS_OWN else None)
        if keys:
            note = f"experiment {path.stem} sets {', '.join(keys)} for {part}={before}: left out with {part}={now}"
            left.append(LeftOut([f"{part}.{key}" for key in keys], note))
    return left


def _file(hydra: Any, files: Files) -> Path | None:
    """The chosen experiment's file."""
    group, _, name = f"experiment/{hydra.runtime.choices.get('experiment')}".rpartition("/")
    return files.get(group, {}).get(name)


def _of_training_alone(files: Files, verb: str) -> set[str]:
    """The keys of ``train`` that another verb does not have."""
    train, own = (outline.read(files[""][name]) for name in ("train", verb))
    names, mine = ({*one.choices, *(key.name.partition(".")[0] for key in one.keys)} for one in (train, own))
    return names - mine


def _own_options(experiment: Path, files: Files, defaults: Mapping[str, str]) -> dict[str, str]:
    """The options that the experiment has without a word of the command: its own, those that fit its data set, the verb's."""
    chosen = outline.read(experiment).overrides
    data = files.get("data", {}).get(chosen.get("data", defaults.get("data", "")))
    return {**defaults, **(outline.read(data).overrides if data is not None else {}), **chosen}


def _foreign(said: list[str], node: DictConfig, part: str, before: str, now: str, files: Files) -> list[str]:
    """Those of the keys that the experiment's own option has and the chosen one has not."""
    if part == "augment":  # its keys are the options
        return [key for key in said if key in outline.options(before) and key not in outline.options(now)]
    replaced = files.get(part, {}).get(before)
    before_keys = _parameters(_content(replaced)) if replaced is not None else set()
    return [key for key in said if key in before_keys and (part in _OF_ITS_OWN or key not in _parameters(node))]


def _put_back(config: DictConfig, part: str, keys: list[str], option: Path | None) -> None:
    """Let the keys be as in the file of the chosen option, if it has them."""
    content = _content(option) if option is not None else {}
    with open_dict(config):
        for key in keys:
            if key in content:
                config[part][key] = content[key]
            else:
                del config[part][key]


def _parameters(node: Mapping[Any, Any]) -> set[str]:
    """The keys of a node's target."""
    try:
        return set(signature.read(str(node.get("_target_"))).parameters)
    except ConfigError:  # the check of the whole config tells it better
        return set()


def _content(path: Path) -> dict[str, Any]:
    """A config file's own keys, nothing resolved."""
    tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(key): value for key, value in tree.items() if key != "defaults"} if isinstance(tree, dict) else {}


def _names(choice: Any) -> str:
    """An option, or a list of them, as the command line has it."""
    text = "" if choice is None else str(choice)
    return f"[{','.join(outline.options(text))}]" if text.startswith("[") else text
