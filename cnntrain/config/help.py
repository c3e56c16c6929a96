"""``cnntrain --help``, ``cnntrain VERB --help``: verbs, groups, options, keys, defaults and examples, read from the config files."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnntrain.config.find import Files
from cnntrain.config.outline import Key, Outline, options, read
from cnntrain.config.outline import meaning as first_line

FLAGS = [
    ("-h, --help", "this text; with GROUP=OPTION, the keys of that option"),
    ("-m, --multirun", "a sweep: every combination of values with commas (lr=0.1,0.2), a process each"),
    ("-c, --cfg KIND", "print the composed config and stop: job, hydra or all"),
    ("-p, --package KEY", "with --cfg: only this part of the config"),
    ("--resolve", "with --cfg: resolve interpolations"),
    ("-cd, --config-dir DIR", "a folder with config files of your own (default: ./conf, if there is one)"),
    ("--version", "print the version"),
]
COMPLETION = "complete -o nospace -o default -C 'cnntrain --complete' cnntrain"


def render(files: Files, verb: str, words: Sequence[str] = (), *, whole: bool = False, width: int | None = None) -> str:
    """The help text of a verb, with the keys of the options that ``words`` choose; ``whole`` also lists all verbs."""
    page = _Page(width or min(shutil.get_terminal_size((100, 24)).columns, 140))
    outline = read(files[""][verb])
    if whole:
        page.text("cnntrain trains convolutional networks for image classification from config files.")
        page.text("Usage: cnntrain [VERB] [GROUP=OPTION ...] [KEY=VALUE ...] [FLAG ...]")
        page.table(
            "Verbs",
            [
                (name, _about(path) + (" (the default)" if name == "train" else ""))
                for name, path in sorted(files[""].items(), key=lambda item: item[0] != "train")
            ],
        )
    else:
        page.text(f"cnntrain {verb}: {outline.meaning}")
    chosen = choices(files, outline, words)
    for group in [name for name in outline.choices if name in files and (name != "augment" or "data" in chosen)]:
        marked = chosen.get(group, [])
        rows = [(("* " if name in marked else "  ") + name, _about(path)) for name, path in files[group].items()]
        page.table(f"{group}=" + ("[OPTION,...]" if group == "augment" else "OPTION"), rows)
    page.keys(f"Keys of {verb}", outline.keys)
    for group, names in chosen.items():
        for name in names:
            path = files.get(group, {}).get(name)
            if path is not None:
                page.keys(f"Keys of {group}={name}", _placed(group, read(path)))
    page.table("Flags", FLAGS)
    page.lines("Examples", outline.examples)
    if whole:
        page.lines("Completion in bash: put this line into ~/.bashrc", [COMPLETION])
    return page.done()


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


def keys(files: Files, verb: str, words: Iterable[str]) -> list[Key]:
    """All keys of a verb as the words choose its options."""
    outline = read(files[""][verb])
    found = list(outline.keys)
    for group, names in choices(files, outline, words).items():
        for name in names:
            path = files.get(group, {}).get(name)
            found += _placed(group, read(path)) if path is not None else []
    return found


def _about(path: Path) -> str:
    return first_line(path)


def _placed(group: str, outline: Outline) -> list[Key]:
    place = "" if outline.whole_tree else group.replace("/", ".") + "."
    return [key._replace(name=place + key.name) for key in outline.keys]


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
            parts = textwrap.wrap(about, max(self.width - left - 2, 20)) or [""]
            if len(name) + 2 > left:
                self._lines.append(f"  {name}")
            else:
                parts[0] = f"{name:{left}}{parts[0]}"
                self._lines.append(f"  {parts.pop(0)}".rstrip())
            self._lines += [f"  {'':{left}}{part}" for part in parts if part]
        self._lines.append("")

    def keys(self, title: str, found: Sequence[Key]) -> None:
        self.table(title, [(f"{name}={default}", about) for name, default, about in found])

    def done(self) -> str:
        return "\n".join(self._lines).rstrip() + "\n"
