"""Completion in the shell, by one line: ``complete -o nospace -o default -C 'cnntrain --complete' cnntrain``.

bash gives the line and the cursor in COMP_LINE and COMP_POINT, and the word that it will replace as an argument. ``=`` ends a
word for bash, so only what follows it is printed back.
"""

from collections.abc import Mapping, Sequence

from cnntrain.config.chosen import choosers, keys
from cnntrain.config.find import Files
from cnntrain.config.outline import read

_FLAGS = ["--help ", "--multirun ", "--cfg ", "--package ", "--resolve ", "--config-dir ", "--version "]


def complete(files: Files, environment: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
    """The words that could stand at the cursor, as bash wants them. ``arguments``: command, word under the cursor, word before."""
    line = environment.get("COMP_LINE", "")
    point = environment.get("COMP_POINT", "")
    words = line[: int(point) if point.isdigit() else len(line)].split(" ")
    current, before = words[-1], [word for word in words[1:-1] if word]
    replaced = arguments[1] if len(arguments) > 1 else current
    replaced = "" if replaced == "=" else replaced
    kept = len(current) - len(replaced) if current.endswith(replaced) else 0
    return [word[kept:] for word in _candidates(files, current, before)]


def _candidates(files: Files, current: str, before: Sequence[str]) -> list[str]:
    verb = next((word for word in before if word in files[""]), "train")
    if before and before[-1] in ("--cfg", "-c"):
        found = ["job ", "hydra ", "all "]
    elif current.startswith("-"):
        found = list(_FLAGS)
    elif "=" in current:
        found = _values(files, verb, current, before)
    else:
        found = [f"{word}=" for word in choosers(files, read(files[""][verb]), before)]
        found += [f"{key.name}=" for key in keys(files, verb, before)]
        if not any(not word.startswith("-") for word in before):
            found += [f"{name} " for name in files[""]]
    return sorted({word for word in found if word.startswith(current)})


def _values(files: Files, verb: str, current: str, before: Sequence[str]) -> list[str]:
    """Options of a group, also inside ``[a,b`` and after a comma; for a key, its default."""
    word, _, value = current.partition("=")
    group = choosers(files, read(files[""][verb]), before).get(word)
    if group is not None:
        cut = max(value.rfind(","), value.rfind("[")) + 1
        end = "" if cut else " "
        taken = value[:cut].strip("[]").split(",")
        return [f"{word}={value[:cut]}{name}{end}" for name in files[group] if name not in taken]
    return [f"{key.name}={key.default} " for key in keys(files, verb, before) if key.name == word and key.default not in ("null", "???")]
