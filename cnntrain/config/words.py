"""The words of a command line, checked against the groups, options and keys that exist, before and after Hydra sees them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from cnntrain.config.chosen import Slot, slots
from cnntrain.config.elsewhere import built_by
from cnntrain.config.find import Files
from cnntrain.config.outline import read
from cnntrain.config.suggest import ask, key_meant, nearest, slips
from cnntrain.errors import ConfigError


def refuse_wrong_words(overrides: Sequence[Override], verb: str, choices: Mapping[str, str], files: Files) -> None:
    """Check all that can be said of groups and options without composing.

    Raises:
        ConfigError: a choice that the verb does not have, an option that does not exist, a list where one is wanted.
    """
    places = slots(files, read(files[""][verb]), [override.input_line or "" for override in overrides])
    for override in overrides:
        line, group = _shown(override), override.key_or_group
        if override.package is not None and group in files:
            _refuse_wrong_slot(override, line, places, files)
            if not override.is_sweep_override():
                continue
        _refuse_value_of_slot(override, line, places, files)
        _refuse_misspelt_group(override, line, verb, choices, files)
        if group == "hydra":
            raise ConfigError("hydra is a part of the config and no value", where=line, fix="hydra.KEY=VALUE (keys: cnntrain --cfg hydra)")
        if override.is_sweep_override():
            one = group in files and not choices.get(group, "").startswith("[")
            fix = "add -m to run each" + ("" if one else f", or write [{line.partition('=')[2]}] for a list")
            raise ConfigError(f"{group} has several values", where=line, fix=fix)
        if group in choices:
            _check_choice(override, line, choices[group], files)
        elif group in files and group and not override.is_add():
            raise ConfigError(
                f"{verb} has no group {group!r}", where=line, fix=_list_of("use", [name for name in choices if name in files])
            )
        elif group in files and group:
            _check_options(line, group, override.value(), files)
        elif not group or ("/" in group and not group.startswith("hydra/")):
            fix = _list_of("use", [name for name in choices if name in files])
            raise ConfigError(f"there is no group {group!r}" if group else "a value without a key", where=line, fix=fix)


def _refuse_wrong_slot(override: Override, line: str, places: Mapping[str, Slot], files: Files) -> None:
    """``model@model.net=OPTION``: check that something is chosen at that place, and that it can be this.

    Raises:
        ConfigError: there is no such place or no such option.
    """
    group, package = override.key_or_group, str(override.package)
    asked, is_new = f"{group}@{package}", override.is_add() or override.is_force_add()
    value = None if override.is_sweep_override() else override.value()
    slot = places.get(asked)
    if slot is None:
        ending = [key for key, one in places.items() if key.startswith(f"{group}@") and one.place.endswith(f".{package}")]
        if near := nearest(asked, places) or next(iter(ending), None):
            fix = _replaced(line.lstrip("+~"), asked, near) if "=" in line else f"{near}={places[near].default}"
            raise ConfigError(f"no option is chosen at {package!r}{ask(places[near].place)}", where=line, fix=fix)
        if not is_new:
            above, _, inner = package.rpartition(".")
            takers = [option for option, path in files.get(above, {}).items() if f"{group}@{inner}" in read(path).nested]
            fix = f"{above}={takers[0]} {line.lstrip('~')}" if takers else line.replace(f"@{package}", "", 1)
            raise ConfigError(f"no option is chosen at {package!r} in this run", where=line, fix=fix)
    elif override.is_delete() or (value is None and not override.is_sweep_override()):
        what = f"{slot.place} is a part of {slot.place.rpartition('.')[0]} and cannot be taken away"
        raise ConfigError(what, where=line, fix=f"{slot.key}={slot.default}")
    elif is_new:
        raise ConfigError(f"{asked} has an option already", where=line, fix=f"leave out the +: {line.lstrip('+')}")
    if isinstance(value, list):
        named = [str(name) for name in value if str(name) in files[group]]
        raise ConfigError(f"{asked} takes one option, not a list", where=line, fix=f"{asked}={next(iter(named), 'OPTION')}")
    if isinstance(value, str):
        _check_options(line, group, value, files)


def _refuse_value_of_slot(override: Override, line: str, places: Mapping[str, Slot], files: Files) -> None:
    """``model.net=resnet20``: the key is that of a node, which is chosen from a group.

    Raises:
        ConfigError: with the word that chooses it.
    """
    slot = next((slot for slot in places.values() if slot.place == override.key_or_group), None)
    if slot is None or override.is_sweep_override() or isinstance(override.value(), Mapping):
        return
    known, value = files.get(slot.group, {}), str(override.value())
    option = value if value in known else nearest(value, known) or slot.default
    raise ConfigError(f"{slot.place} is a node, one of the options of {slot.group}", where=line, fix=f"{slot.key}={option}")


def _refuse_misspelt_group(override: Override, line: str, verb: str, choices: Mapping[str, str], files: Files) -> None:
    """``dta=folder``: the value is an option of the group that the key is nearly called."""
    key, value = override.key_or_group, override.value() if not override.is_sweep_override() else None
    names = [str(name) for name in (value if isinstance(value, list) else [value])]
    near = nearest(key, choices) if names and "." not in key and key not in choices and key not in files else None
    if near is None or not all(name in files.get(near, {}) for name in names) or key in {one.name for one in read(files[""][verb]).keys}:
        return
    raise ConfigError(f"there is no key {key!r}{ask(near)}", where=line, fix=_replaced(line.lstrip("+~"), key, near))


def _check_choice(override: Override, line: str, default: str, files: Files) -> None:
    group, takes_list, value = override.key_or_group, default.startswith("["), override.value()
    options = files.get(group, {})
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
        _check_options(line, group, value, files)


def _check_options(line: str, group: str, value: Any, files: Files) -> None:
    below = {sub.removeprefix(f"{group}/"): sub for sub in files if sub.startswith(f"{group}/")}
    options = [*files.get(group, {}), *(f"{name}/{option}" for name, sub in below.items() for option in files[sub])]
    names = [str(name) for name in (value if isinstance(value, list) else [value])]
    for place, name in enumerate(names):
        if name not in options:
            near = nearest(name, [option for option in options if option not in names])
            homes = [f"{other}={name}" for other in files if name in files[other] and other and "/" not in other]
            right = [*names[:place], str(near), *names[place + 1 :]]
            asked = line.partition("=")[0].lstrip("+")  # the group, with its package: model@model.net
            fix = f"{asked}=[{','.join(right)}]" if isinstance(value, list) else f"{asked}={near}"
            what = f"{group} has no option {name!r}"
            sure = bool(near) and slips(name, str(near)) <= 1
            if homes and not sure:  # a whole name elsewhere is meant rather than one that is only like it
                raise ConfigError(f"{what}, which is one of {homes[0].partition('=')[0]}", where=line, fix=homes[0])
            if group == "model" and not sure and (maker := built_by(name, options)):
                node = asked.rpartition("@")[2]
                raise ConfigError(f"{what}, but {maker} has a network of that name", where=line, fix=f"{asked}={maker} {node}.name={name}")
            raise ConfigError(what + (ask(near) if near else ""), where=line, fix=fix if near else _list_of("choose", options))


def refuse_unknown_keys(overrides: Sequence[Override], tree: Mapping[str, Any], is_group: Callable[[Override], bool], files: Files) -> None:
    """Check each ``KEY=VALUE`` and ``~KEY`` against the tree that it is laid over.

    Raises:
        ConfigError: a key that does not exist, or a ``~`` that takes a parameter from a call.
    """
    paths = [path for path, _ in leaves(tree) if not path.startswith("hydra.")]
    for override in overrides:
        line, key = _shown(override), override.key_or_group
        if override.is_add() and key in paths and not is_group(override):
            raise ConfigError(f"{key} has a value already", where=line, fix=f"leave out the +: {line.lstrip('+')}")
        if is_group(override) or override.is_add() or override.is_force_add():
            continue
        group, _, rest = key.partition(".")
        option = rest.partition(".")[0]
        if group == "augment" and option in files.get(group, {}) and option not in (tree.get(group) or {}):
            chosen = ",".join([*(tree.get(group) or {}), option])
            raise ConfigError(f"{group} does not have {option} in this run", where=line, fix=f"add {group}=[{chosen}]")
        if (meant := _option_meant(key, tree, files)) is not None:
            raise ConfigError(f"{key.rpartition('.')[2]} is an option of {meant.partition('=')[0]} and no key", where=line, fix=meant)
        node = walk(tree, key, paths, line)
        if isinstance(node, Mapping) and isinstance(override.value(), list):
            raise ConfigError(f"{key} takes keys with values and no list", where=line, fix=f"write {key}={{KEY:VALUE}}")
        if isinstance(node, list) and isinstance(override.value(), dict):
            raise ConfigError(
                f"{key} is a list and takes no keys", where=line, fix=f"write {key}=[...], with its values between the brackets"
            )
        parent = node if "." not in key else walk(tree, key.rpartition(".")[0], paths, line)
        if override.is_delete() and ("." not in key or (isinstance(parent, Mapping) and "_target_" in parent)):
            raise ConfigError(f"{key} cannot be taken away: every key has a value", where=line, fix=f"set it: {key}=VALUE")


def _option_meant(key: str, tree: Mapping[str, Any], files: Files) -> str | None:
    """The choice that a key stands for which is an option's name: ``optimizer.adam=…`` and ``adam=…`` are ``optimizer=adam``."""
    place, _, last = key.rpartition(".")
    groups = [place] if place else [group for group in files if group in tree]
    node = tree if not place else tree.get(place)
    if isinstance(node, Mapping) and last in node:
        return None
    return next(
        (f"{group}=[{last}]" if group == "augment" else f"{group}={last}" for group in groups if last in files.get(group, {})), None
    )


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
    found = key_meant(part if above else key, here, paths) or key_meant(part, here, [])
    meant = [name if "." in name or not place or name in paths else f"{place}.{name}" for name in found]
    what = f"there is no key {key!r}" if not place else f"{place} has no key {part!r}"
    if meant:
        whole = ".".join([meant[0], *key.split(".")[len(above) + 1 :]])
        right = whole if whole in paths or node.get(meant[0]) == {} else meant[0]
        what += f" (did you mean {' or '.join(repr(name) for name in [right, *meant[1:]])}?)"
        needed = line.startswith("~") and "_target_" in node  # a parameter: it can be set, but not taken away
        return ConfigError(what, where=line, fix=f"set it: {right}=VALUE" if needed else _replaced(line, key, right))
    if place and not node and line.partition("=")[2]:
        return ConfigError(what, where=line, fix=f"{place}={{{part}: {line.partition('=')[2]}}}")
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


def _shown(override: Override) -> str:
    """The word as a message shows it, on one line."""
    line = override.input_line or ""
    return line if line.isprintable() else repr(line)


def _replaced(line: str, key: str, right: str) -> str:
    name, equals, value = line.partition("=")
    return name.replace(key, right) + equals + value


def _list_of(verb: str, names: Iterable[str]) -> str:
    """``use one of a, b, c``: at most twelve."""
    listed = list(names)
    more = f" and {len(listed) - 12} more (cnntrain --help)" if len(listed) > 12 else ""
    return f"{verb} one of {', '.join(listed[:12])}{more}" if listed else "see cnntrain --help"
