"""The words of a command line, checked against the groups, options and keys that exist, before and after Hydra sees them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from cnntrain.config.find import Files
from cnntrain.config.suggest import key_meant, nearest
from cnntrain.errors import ConfigError


def refuse_wrong_words(overrides: Sequence[Override], verb: str, choices: Mapping[str, str], files: Files) -> None:
    """Check all that can be said of groups and options without composing.

    Raises:
        ConfigError: a choice that the verb does not have, an option that does not exist, a list where one is wanted.
    """
    for override in overrides:
        line, group = override.input_line or "", override.key_or_group
        if override.is_sweep_override():
            fix = f"add -m to run each, or write [{line.partition('=')[2]}] for a list"
            raise ConfigError(f"{group} has several values", where=line, fix=fix)
        if group in choices:
            _check_choice(override, line, choices[group], files.get(group, {}))
        elif group in files and group and not override.is_add():
            raise ConfigError(
                f"{verb} has no group {group!r}", where=line, fix=_list_of("use", [name for name in choices if name in files])
            )
        elif group in files and group:
            _check_options(line, group, override.value(), files[group])
        elif not group or ("/" in group and not group.startswith("hydra/")):
            fix = _list_of("use", [name for name in choices if name in files])
            raise ConfigError(f"there is no group {group!r}" if group else "a value without a key", where=line, fix=fix)


def _check_choice(override: Override, line: str, default: str, options: Mapping[str, Any]) -> None:
    group, takes_list, value = override.key_or_group, default.startswith("["), override.value()
    named = [str(name) for name in (value if isinstance(value, list) else []) if str(name) in options]
    example = f"{group}=[{','.join(list(options)[:2])}]" if takes_list else f"{group}={next(iter(named + list(options)), 'OPTION')}"
    if override.is_delete():
        fix = f"{group}=[] for none" if takes_list else f"choose another one: {example}"
        raise ConfigError(f"{group} is a part of the run and cannot be taken away", where=line, fix=fix)
    if override.is_add() or override.is_force_add():
        raise ConfigError(f"{group} is a group that has an option already", where=line, fix=f"leave out the +: {line.lstrip('+')}")
    if value is None and default != "null":
        raise ConfigError(f"{group} is a part of the run and cannot be null", where=line, fix=f"{group}=[]" if takes_list else example)
    if isinstance(value, list) and not takes_list:
        raise ConfigError(f"{group} takes one option, not a list", where=line, fix=example)
    if isinstance(value, list):
        twice = sorted({str(name) for name in value if value.count(name) > 1})
        if twice:
            raise ConfigError(f"{group} has {twice[0]} twice", where=line, fix=f"{group}=[{','.join(dict.fromkeys(map(str, value)))}]")
    if value is not None and not isinstance(value, dict):
        _check_options(line, group, value, options)


def _check_options(line: str, group: str, value: Any, options: Mapping[str, Any]) -> None:
    for name in value if isinstance(value, list) else [value]:
        if str(name) not in options and "/" not in str(name):
            near = nearest(str(name), options)
            fix = line.replace(str(name), near) if near and str(name) else _list_of("choose", options)
            raise ConfigError(f"{group} has no option {str(name)!r}" + (f" (did you mean {near!r}?)" if near else ""), where=line, fix=fix)


def refuse_unknown_keys(overrides: Sequence[Override], tree: Mapping[str, Any], is_group: Callable[[Override], bool], files: Files) -> None:
    """Check each ``KEY=VALUE`` and ``~KEY`` against the tree that it is laid over.

    Raises:
        ConfigError: a key that does not exist, or a ``~`` that takes a parameter from a call.
    """
    paths = [path for path, _ in leaves(tree) if not path.startswith("hydra.")]
    for override in overrides:
        line, key = override.input_line or "", override.key_or_group
        if is_group(override) or override.is_add() or override.is_force_add():
            continue
        group, _, rest = key.partition(".")
        option = rest.partition(".")[0]
        if group == "augment" and option in files.get(group, {}) and option not in (tree.get(group) or {}):
            chosen = ",".join([*(tree.get(group) or {}), option])
            raise ConfigError(f"{group} does not have {option} in this run", where=line, fix=f"add {group}=[{chosen}]")
        node = walk(tree, key, paths, line)
        parent = node if "." not in key else walk(tree, key.rpartition(".")[0], paths, line)
        if override.is_delete() and ("." not in key or (isinstance(parent, Mapping) and "_target_" in parent)):
            raise ConfigError(f"{key} cannot be taken away: every key has a value", where=line, fix=f"set it: {key}=VALUE")


def walk(tree: Mapping[str, Any], key: str, paths: Sequence[str], line: str) -> Any:
    """The value at a dotted key.

    Raises:
        ConfigError: there is none; the nearest right key is named.
    """
    node: Any = tree
    done: list[str] = []
    for part in key.split("."):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            raise unknown_key(key, part, done, node, paths, line)
        done.append(part)
    return node


def unknown_key(key: str, part: str, above: Sequence[str], node: Any, paths: Sequence[str], line: str) -> ConfigError:
    """The error for a key that does not exist below ``above``."""
    place = ".".join(above)
    if not isinstance(node, Mapping):
        return ConfigError(f"{place} is a value and has no keys", where=line, fix=f"{place}=VALUE")
    here = [str(name) for name in node if name not in ("_target_", "hydra")]
    if place.startswith("hydra"):
        paths = []
    meant = [
        name if "." in name or not place or name in paths else f"{place}.{name}"
        for name in key_meant(part if len(above) else key, here, paths)
    ]
    what = f"there is no key {key!r}" if not place else f"{place} has no key {part!r}"
    if meant:
        rest = key.split(".")[len(above) + 1 :]
        right = ".".join([meant[0], *rest]) if ".".join([meant[0], *rest]) in paths else meant[0]
        what += f" (did you mean {' or '.join(repr(name) for name in [right, *meant[1:]])}?)"
        return ConfigError(what, where=line, fix=_replaced(line, key, right))
    return ConfigError(what, where=line, fix=_list_of("use", [f"{place}.{name}" if place else name for name in here]))


def leaves(tree: Any, above: str = "") -> list[tuple[str, Any]]:
    """The dotted names of all values of a tree, and of the nodes above them, with their values."""
    if not isinstance(tree, Mapping):
        return []
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if name != "_target_":
            found += [(f"{above}{name}", value), *leaves(value, f"{above}{name}.")]
    return found


def _replaced(line: str, key: str, right: str) -> str:
    name, equals, value = line.partition("=")
    return name.replace(key, right) + equals + value


def _list_of(verb: str, names: Iterable[str]) -> str:
    """``use one of a, b, c``: at most twelve."""
    listed = list(names)
    more = f" and {len(listed) - 12} more (cnntrain --help)" if len(listed) > 12 else ""
    return f"{verb} one of {', '.join(listed[:12])}{more}" if listed else "see cnntrain --help"
