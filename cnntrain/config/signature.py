"""A target's parameters, read from its text: names, types, defaults, kinds. The signature is the schema of a config node."""

import ast
import inspect
from typing import Any, NamedTuple

from cnntrain.config import annotation
from cnntrain.config.source import Located, Module, load, locate
from cnntrain.errors import ConfigError


class Unwritten:
    """Stands for a default that is absent, or that is no plain value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED = Unwritten("REQUIRED")  # no default: the config or the run must give a value
COMPUTED = Unwritten("COMPUTED")  # a default that is an expression, not a value


class Parameter(NamedTuple):
    """One parameter: its resolved type, and its default (a plain value, REQUIRED or COMPUTED)."""

    name: str
    type: Any
    default: Any
    keyword_only: bool

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


class Signature(NamedTuple):
    """What a target takes by name. ``open`` if it takes any other keyword too (``**kwargs``)."""

    target: str
    parameters: dict[str, Parameter]
    open: bool

    @property
    def name(self) -> str:
        """The last part of the target: what messages call it."""
        return self.target.rpartition(".")[2]


def read(target: str) -> Signature:
    """The signature of the class or function of that dotted name.

    Raises:
        ConfigError: it cannot be found, imported (where its text does not tell) or called by keywords.
    """
    return signature_of(locate(target))


def signature_of(located: Located) -> Signature:
    """The signature of a target that was found: from its text, or, where that does not hold it, by importing it."""
    definition = located.definition
    if isinstance(definition, ast.ClassDef):
        found = next((node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
        return _from_object(located.target) if found is None else _from_text(located, found, skip=1)
    if definition is None:
        return _from_object(located.target)
    return _from_text(located, definition, skip=0)


def _from_text(located: Located, node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip: int) -> Signature:
    """``skip`` is 1 for methods, whose first parameter is the object itself."""
    given = node.args
    if len(given.posonlyargs) > skip:
        _by_position(located.target, given.posonlyargs[-1].arg)
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = list(zip(positional, defaults, strict=True))[skip:]
    parameters = [_parameter(one, default, located.module, keyword_only=False) for one, default in pairs]
    parameters += [
        _parameter(one, default, located.module, keyword_only=True)
        for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    return Signature(located.target, {one.name: one for one in parameters}, given.kwarg is not None)


def _parameter(node: ast.arg, default: ast.expr | None, module: Module, *, keyword_only: bool) -> Parameter:
    value: Any = REQUIRED
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = COMPUTED
    return Parameter(node.arg, annotation.resolve(node.annotation, module), value, keyword_only)


def _from_object(target: str) -> Signature:
    """By importing: inherited ``__init__``, re-exports, extensions."""
    try:
        found = inspect.signature(load(target))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{target!r} has no readable signature", fix="wrap it in a function of your own and name that") from error
    parameters = {}
    is_open = False
    for name, one in found.parameters.items():
        if one.kind is one.VAR_KEYWORD:
            is_open = True
        elif one.kind is one.POSITIONAL_ONLY and one.default is one.empty:
            _by_position(target, name)
        elif one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            kind = Any if one.annotation is one.empty else annotation.from_object(one.annotation)
            default = REQUIRED if one.default is one.empty else one.default if _is_plain(one.default) else COMPUTED
            parameters[name] = Parameter(name, kind, default, one.kind is one.KEYWORD_ONLY)
    return Signature(target, parameters, is_open)


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)


def _by_position(target: str, name: str) -> None:
    raise ConfigError(f"{target!r} takes {name!r} by position only", fix="wrap it in a function of your own and name that")
