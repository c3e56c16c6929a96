"""``cnntrain --help`` on a screen or two, and the pages behind it: of a group, an option, a key. All is read from the config files."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnntrain.config.chosen import Slot, choices, choosers, keys, keys_of, slots
from cnntrain.config.find import Files
from cnntrain.config.outline import Key, Outline, meaning, options, read
from cnntrain.config.suggest import did_you_mean, nearest
from cnntrain.errors import ConfigError

FLAGS = [
    ("-h, --help", "this text, or the page of the words before it"),
    ("-m, --multirun", "a sweep: every combination of values with commas (lr=0.1,0.2), a process each"),
    ("-c, --cfg KIND", "print the composed config and stop: job, hydra or all"),
    ("-p, --package KEY", "with --cfg: only this part of the config"),
    ("--resolve", "with --cfg: resolve interpolations"),
    ("-cd, --config-dir DIR", "a folder with config files of your own (default: ./conf, if there is one)"),
    ("--version", "print the version"),
]
COMPLETION = "complete -o nospace -o default -C 'cnntrain --complete' cnntrain"


def render(files: Files, verb: str, words: Sequence[str] = (), *, whole: bool = False, width: int | None = None) -> str:
    """The help text of a verb, or of the groups (``model``), options (``model=resnet20``) and keys (``lr``) among ``words``.

    ``whole`` also lists all verbs.

    Raises:
        ConfigError: a word is none of these.
    """
    page = _Page(width or min(shutil.get_terminal_size((80, 24)).columns, 100))
    outline = read(files[""][verb])
    asked = [word for word in words if _show(page, files, verb, outline, word, words)]
    if not asked:
        _overview(page, files, verb, outline, words, whole=whole)
    return page.done()


def _overview(page: "_Page", files: Files, verb: str, outline: Outline, words: Sequence[str], *, whole: bool) -> None:
    """Verbs, groups with the names of their options, the verb's own keys, and where the rest is told."""
    command = "cnntrain" if whole else f"cnntrain {verb}"
    if whole:
        page.text("cnntrain trains convolutional networks for image classification from config files.")
        page.text("Usage: cnntrain [VERB] [GROUP=OPTION ...] [KEY=VALUE ...] [FLAG ...]")
        verbs = sorted(files[""].items(), key=lambda item: item[0] != "train")
        page.table("Verbs", [(name, meaning(path) + (" (the default)" if name == "train" else "")) for name, path in verbs])
    else:
        page.text(f"cnntrain {verb}: {outline.meaning}")
    chosen = choices(files, outline, words)
    groups = [name for name in outline.choices if name in files]
    if groups:
        page.table("Groups and their options (* is the one in force)", [(name, _names(files, name, chosen)) for name in groups])
    page.keys(f"Keys of {verb}", outline.keys)
    example = next((name for name in ("model", "data", *groups) if name in groups), "")
    rows = []
    if example:
        option = next(iter(chosen.get(example) or files[example]))
        rows += [(f"{command} {example} --help", f"what each option of {example} is; so for every group")]
        rows += [(f"{command} {example}={option} --help", "the keys of that option, with default and meaning")]
    if "optimizer" in groups:
        rows += [(f"{command} lr --help", "keys of that name, in all parts in force")]
    if whole:
        rows += [("cnntrain evaluate --help", "the groups and keys of another verb")]
        rows += [("cnntrain --cfg job", "the whole config of a command")]
    page.table("Every other key", rows)
    page.table("Flags", FLAGS)
    page.lines("Examples", outline.examples)
    if whole:
        page.lines("Completion in bash: put this line into ~/.bashrc", [COMPLETION])


def _show(page: "_Page", files: Files, verb: str, outline: Outline, word: str, words: Sequence[str]) -> bool:
    """The page of one word, if it is about a group, an option or a key; ``KEY=VALUE`` only changes what is in force."""
    name, equals, text = word.lstrip("+~").partition("=")
    groups = choosers(files, outline, words)
    if name in groups:
        group = groups[name]
        if equals:
            _options(page, files, name, group, options(text), list(slots(files, outline, words).values()))
        else:
            chosen = choices(files, outline, words).get(name, [])
            rows = [(("* " if option in chosen else "  ") + option, meaning(path)) for option, path in _sorted(files, group)]
            page.table(f"{name}=" + ("[OPTION,...]" if name == "augment" else "OPTION"), rows)
            for option in chosen:
                page.keys(f"Keys of {name}={option}", keys_of(files, group, option))
        return True
    if equals:
        return False
    known = keys(files, verb, words)
    found = [key for key in known if f".{name}." in f".{key.name}."]
    if not found:
        every = [*files[""], *groups, *(key.name for key in known)]
        near = nearest(name, every)
        fix = f"cnntrain {near} --help" if near else "see cnntrain --help"
        raise ConfigError(f"{verb} has no group or key {name!r}{did_you_mean(name, every)}", where=word, fix=fix)
    page.keys(f"Keys called {name}", found)
    return True


def _options(page: "_Page", files: Files, name: str, group: str, asked: Sequence[str], nested: Sequence[Slot]) -> None:
    """The keys of options, and of the nodes within them.

    Raises:
        ConfigError: there is no such option.
    """
    place = name.rpartition("@")[2]
    for option in asked:
        if option not in files[group]:
            near = nearest(option, files[group])
            fix = f"cnntrain {name}={near} --help" if near else f"cnntrain {name} --help"
            raise ConfigError(f"{group} has no option {option!r}{did_you_mean(option, files[group])}", where=f"{name}={option}", fix=fix)
        page.text(f"{name}={option}: {meaning(files[group][option])}")
        page.keys("Keys", keys_of(files, group, option, place=place if "@" in name else None))
        for slot in nested:
            if slot.place.startswith(f"{place}."):
                inner = keys_of(files, slot.group, slot.option, place=slot.place)
                page.keys(f"Keys of {slot.place}, which is {slot.option}; another: {slot.key}=OPTION", inner)


def _names(files: Files, group: str, chosen: dict[str, list[str]]) -> str:
    return " ".join(f"*{name}" if name in chosen.get(group, []) else name for name, _ in _sorted(files, group))


def _sorted(files: Files, group: str) -> list[tuple[str, Path]]:
    """A group's options by name, numbers by value: resnet20 before resnet110."""
    return sorted(files[group].items(), key=lambda item: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", item[0])])


class _Page:
    """Lines of text of a given width."""

    def __init__(self, width: int) -> None:
        self.width = max(width, 40)
        self._lines: list[str] = []

    def text(self, text: str) -> None:
        self._lines += [*textwrap.wrap(text, self.width), ""]

    def lines(self, title: str, lines: Sequence[str]) -> None:
        if lines:
            self._lines += [title, *(f"  {line}" for line in lines), ""]

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Two columns; a long first word gets a line of its own."""
        if not rows:
            return
        left = min(max(len(name) for name, _ in rows) + 2, 32)
        self._lines.append(title)
        for name, about in rows:
            parts = textwrap.wrap(about, max(self.width - left - 2, 20), break_long_words=False) or [""]
            if len(name) + 2 > left:
                self._lines.append(f"  {name}")
            else:
                parts[0] = f"{name:{left}}{parts[0]}"
                self._lines.append(f"  {parts.pop(0)}".rstrip())
            self._lines += [f"  {'':{left}}{part}" for part in parts if part]
        self._lines.append("")

    def keys(self, title: str, found: Iterable[Key]) -> None:
        self.table(title, [(f"{name}={default}", about) for name, default, about in found])

    def done(self) -> str:
        return "\n".join(self._lines).rstrip() + "\n"
