"""Where a dotted name is written: found part by part and read as text, so that no parent package is imported.

``importlib.util.find_spec("a.b.c")`` imports ``a`` and ``a.b``; here only the finders of ``sys.meta_path`` are asked, each part within
the folders of the part before it. What has no text (an extension, a built-in, a module made in memory) is found, but not read.
"""

import ast
import functools
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cnntrain.config.suggest import nearest
from cnntrain.errors import ConfigError

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
ANYTHING = "*"  # stands among a module's names where its text does not tell them all


class Text(NamedTuple):
    """What the text of a module says at its top level.

    ``imports``: name → dotted name it stands for; ``aliases``: name → the expression assigned to it.
    """

    definitions: dict[str, Definition]
    imports: dict[str, str]
    aliases: dict[str, ast.expr]

    def names(self) -> set[str]:
        """All names that the text gives to something, with ``*`` where there may be more."""
        return {*self.definitions, *self.imports, *self.aliases}


class Module(NamedTuple):
    """A module that was found. ``path`` is None where there is no text; ``folders`` is None unless it is a package."""

    name: str
    path: Path | None
    folders: list[str] | None

    def read(self) -> Text:
        """Its text, parsed; empty where there is none.

        Raises:
            ConfigError: the text is not Python.
        """
        if self.path is None:
            return Text({}, {}, {})
        try:
            state = self.path.stat()
            return _parse(self.path, self.name, self.folders is not None, state.st_mtime_ns, state.st_size)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            raise ConfigError(f"{self.path}{line} is not valid Python", fix=f"correct {self.path}") from error
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}", fix=f"make {self.path} readable") from error


class Located(NamedTuple):
    """A target: its module, its name within it, and where the module's own text defines it (None: not there, or no text)."""

    module: Module
    name: str
    definition: Definition | None

    @property
    def target(self) -> str:
        """The dotted name."""
        return f"{self.module.name}.{self.name}"


def locate(target: str) -> Located:
    """Find a target without importing anything.

    Raises:
        ConfigError: there is no such module, or its text defines and imports nothing of that name.
    """
    module, names = _longest(target.split("."))
    if module is None or not all(part.isidentifier() for part in target.split(".")):
        raise _unknown(target)
    if not names:
        inside = ", ".join(name for name in module.read().definitions if not name.startswith("_"))
        raise ConfigError(f"{target!r} is a module", fix=f"name a class or function in it{': ' if inside else ''}{inside}")
    text = module.read()
    definition = text.definitions.get(names[0])
    for name in names[1:]:
        inner = definition.body if isinstance(definition, ast.ClassDef) else []
        definition = next((node for node in inner if isinstance(node, ast.ClassDef) and node.name == name), None)
    if definition is None and module.path is not None and not {names[0], ANYTHING, "__getattr__"} & text.names():
        raise _unknown(target)
    return Located(module, ".".join(names), definition)


def load(target: str) -> Any:
    """Import the class or function of that name: the one upward arrow of the house.

    Raises:
        ConfigError: its module cannot be imported, or holds nothing callable of that name.
    """
    module, names = _longest(target.split("."))
    if module is None:
        raise _unknown(target)
    try:
        found = importlib.import_module(module.name)
    except Exception as error:
        raise ConfigError(
            f"{module.name} cannot be imported: {type(error).__name__}: {error}", fix=f"see what {module.path or module.name} needs"
        ) from error
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            raise _unknown(target) from None
    if not callable(found):
        raise ConfigError(f"{target!r} is neither a class nor a function", fix="name one that is")
    return found


def find_module(name: str) -> Module | None:
    """The module of that dotted name, or None."""
    module, rest = _longest(name.split("."))
    return None if rest else module


def suggestion(target: str) -> str | None:
    """The dotted name of the definition that a wrong ``target`` most likely meant, or None."""
    parts = target.split(".")
    for _ in parts:
        module, names = _longest(parts)
        if module is not None and not names:
            return ".".join(parts)
        found = len(parts) - len(names)
        choices = set(_submodules(module))
        if module is not None and len(names) == 1:
            choices |= {name for name in _definitions(module) if not name.startswith("_")}
            if names[0] in choices:
                return ".".join(parts)
            if (home := _sibling_defining(module, names[0])) is not None:
                return home
        right = nearest(names[0], choices)
        if right is None or right == names[0]:
            return None
        parts = [*parts[:found], right, *names[1:]]
        if len(names) == 1:
            return ".".join(parts)
    return None


def _longest(parts: list[str]) -> tuple[Module | None, list[str]]:
    """The module of the longest beginning that is one, and the parts that are left over."""
    module: Module | None = None
    for count, part in enumerate(parts):
        inner = _find_part(module, part) if part else None
        if inner is None:
            return module, parts[count:]
        module = inner
    return module, []


def _find_part(parent: Module | None, part: str) -> Module | None:
    if parent is not None and parent.folders is None:
        return None
    name = part if parent is None else f"{parent.name}.{part}"
    within = None if parent is None else parent.folders
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, within) if hasattr(finder, "find_spec") else None
            if spec is not None:
                folders = spec.submodule_search_locations
                path = Path(spec.origin) if spec.has_location and spec.origin and spec.origin.endswith(".py") else None
                return Module(name, path, None if folders is None else list(folders))
        except KeyError:
            # A namespace package within another asks for its parent's place in sys.modules, where it need not be.
            folders = [os.path.join(folder, part) for folder in within or sys.path]
            return Module(name, None, [folder for folder in folders if os.path.isdir(folder)])
    loaded = sys.modules.get(name)
    if loaded is None:
        return None
    return Module(name, None, list(loaded.__path__) if hasattr(loaded, "__path__") else None)


@functools.lru_cache(maxsize=512)
def _parse(path: Path, name: str, package: bool, mtime: int, size: int) -> Text:
    """Parse a file; its time and size are part of the key, so that an edited file is read again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        tree = ast.parse(path.read_bytes())
    text = Text({}, {}, {})
    home = name.split(".") if package else name.split(".")[:-1]
    for node in _top_level(tree.body):
        if isinstance(node, Definition):
            text.definitions[node.name] = node
        elif isinstance(node, ast.Import):
            for item in node.names:
                text.imports[item.asname or item.name.split(".")[0]] = item.name if item.asname else item.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + 1] if node.level else []
            for item in node.names:
                text.imports[item.asname or item.name] = ".".join([*above, *([node.module] if node.module else []), item.name])
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            text.aliases[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            text.aliases[node.target.id] = node.value
        elif type(node).__name__ == "TypeAlias":  # the statement `type X = …` of Python 3.12
            text.aliases[node.name.id] = node.value  # type: ignore[attr-defined]
        elif isinstance(node, ast.For | ast.While | ast.With | ast.Assign | ast.Match) or isinstance(
            getattr(node, "value", None), ast.Call
        ):
            text.imports[ANYTHING] = ""  # a loop or call at import, which may make names
    return text


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _top_level(node.body + [part for handler in node.handlers for part in handler.body] + node.orelse + node.finalbody)
        else:
            yield node


def _unknown(target: str) -> ConfigError:
    meant = suggestion(target)
    hint = f" (did you mean {meant!r}?)" if meant and meant != target else ""
    fix = f"write {meant}" if hint else "name a class or function as module.Name, of a module that is installed or in the working folder"
    return ConfigError(f"{target!r} cannot be found{hint}", fix=fix)


def _submodules(module: Module | None) -> Iterator[str]:
    """Names of the modules within a package, or of all that can be imported by one name."""
    folders = sys.path if module is None else module.folders or []
    for folder in folders:
        try:
            entries = list(os.scandir(folder or "."))
        except OSError:
            continue
        for entry in entries:
            name = entry.name.removesuffix(".py") if entry.name.endswith(".py") or entry.is_dir() else ""
            if name.isidentifier() and not name.startswith("_"):
                yield name


def _definitions(module: Module) -> dict[str, Definition]:
    try:
        return module.read().definitions
    except ConfigError:
        return {}


def _sibling_defining(package: Module, name: str) -> str | None:
    """The full name of a definition of that name in a module of the package: ``cnntrain.model.ResNet`` lives in ``….resnet``."""
    for inner in sorted(set(_submodules(package))):
        module = _find_part(package, inner)
        try:
            if module and module.path and name in module.path.read_text(encoding="utf-8") and name in _definitions(module):
                return f"{module.name}.{name}"
        except (OSError, UnicodeDecodeError):
            continue
    return None
