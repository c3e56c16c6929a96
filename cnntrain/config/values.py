"""Fits a config value to a parameter's type, or says in words what was expected.

Strict, as pydantic means it (no text for a whole number, no ``true`` for 1), with three allowances for YAML: a list serves for a tuple,
a whole number for a float, and ``1e-3`` for a float where the YAML reader left it a text (YAML 1.1 wants ``1.0e-3``).
"""

import functools
import re
import types
import typing
from typing import Any, Literal, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cnntrain import units
from cnntrain.config.suggest import ask, nearest

_NUMERIC = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", None: "null", type(None): "null"}


class Misfit(ValueError):
    """A value that does not fit: ``inside`` is where in the value (``[2]``), ``text`` what is wrong, ``expected`` what would fit."""

    def __init__(self, inside: str, text: str, expected: str) -> None:
        super().__init__(text)
        self.inside, self.text, self.expected = inside, text, expected


def fit(value: Any, kind: Any) -> Any:
    """The value as the type wants it (tuples for lists, floats for whole numbers).

    Raises:
        Misfit: it does not fit.
    """
    if kind is Any:
        return value
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    if not _has_inside(bare):
        return _fit_leaf(value, kind)
    fitted = _fit_arms(value, bare, kind) if _is_union(bare) else _fit_inside(value, bare)
    return fitted if bare is kind else _fit_leaf(fitted, kind)


def describe(kind: Any) -> str:
    """What an error message calls a value of this type: ``a number from 0 to 1``."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return next((word for word in reversed(args[1:]) if isinstance(word, str)), describe(args[0]))
    if origin is Literal:
        words = [repr(choice) if isinstance(choice, str) else show(choice) for choice in args]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if _is_union(kind):
        return " or ".join(describe(arm) for arm in args)
    if origin is list:
        return "a list" if args[0] is Any else f"a list (of each: {describe(args[0])})"
    if origin is tuple:
        if args[-1:] == (...,):
            return "a list" if args[0] is Any else f"a list (of each: {describe(args[0])})"
        return f"a list of {len(args)} values" + ("" if Any in args else f" ({', '.join(describe(arg) for arg in args)})")
    if origin is dict:
        return "keys with values"
    return _WORDS.get(kind, "a node with a _target_" if _is_node(kind) else "such a value")


def show(value: Any) -> str:
    """A value on one line, as YAML would have it, shortened where it is long."""
    if _is_node(type(value)):
        text = f"the node {value.target}"
    elif isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    else:
        text = repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fit_leaf(value: Any, kind: Any) -> Any:
    """By pydantic: as it is, or as the number that its text spells."""
    if _is_node(kind):
        if isinstance(value, kind):
            return value
        raise _misfit(value, kind)
    tries = [value]
    if isinstance(value, str) and len(value) < 100 and _NUMERIC.fullmatch(value) and _takes_float(kind):
        tries.append(float(value))
    for one in tries:
        try:
            fitted = _adapter(kind).validate_python(one)
        except (ValidationError, OverflowError):
            continue
        if isinstance(fitted, float) and fitted != fitted:
            continue  # NaN fits no parameter
        if isinstance(one, bool) is isinstance(fitted, bool):  # true equals 1, and so would pass for Literal[1]
            return fitted
    raise _misfit(value, kind)


def _fit_inside(value: Any, kind: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        if not isinstance(value, dict):
            raise _misfit(value, kind)
        key_kind, item_kind = args
        fitted = {}
        for key, item in value.items():
            try:
                fitted[fit(key, key_kind)] = fit(item, item_kind)
            except Misfit as misfit:
                raise Misfit(f".{key}{misfit.inside}", misfit.text, misfit.expected) from None
        return fitted
    if not isinstance(value, list | tuple):
        raise _misfit(value, kind)
    if origin is list or args[-1:] == (...,):
        kinds = [args[0]] * len(value)
    elif len(args) != len(value):
        raise _misfit(value, kind)
    else:
        kinds = list(args)
    items = []
    for place, (item, item_kind) in enumerate(zip(value, kinds, strict=True)):
        try:
            items.append(fit(item, item_kind))
        except Misfit as misfit:
            raise Misfit(f"[{place}]{misfit.inside}", misfit.text, misfit.expected) from None
    return items if origin is list else tuple(items)


def _fit_arms(value: Any, kind: Any, whole: Any) -> Any:
    """A union of which some arm holds values inside: the arm that fits, and if none does, what is wrong in the one of that shape."""
    arms = typing.get_args(kind)
    leaves = tuple(arm for arm in arms if not (_has_inside(arm) or _is_node(arm)))
    misfits = []
    for arm in [*([Union[leaves]] if leaves else []), *(arm for arm in arms if arm not in leaves)]:  # noqa: UP007
        try:
            return fit(value, arm)
        except Misfit as misfit:
            misfits.append(misfit)
    inside = [misfit for misfit in misfits if misfit.inside]
    raise inside[0] if len(inside) == 1 else _misfit(value, whole)


def _misfit(value: Any, kind: Any) -> Misfit:
    expected = describe(kind)
    near = nearest(value, _choices(kind)) if isinstance(value, str) else None
    if isinstance(value, int) and abs(value) >= units.BEYOND and "whole number" in expected:
        return Misfit("", f"{show(value)} is too large for {expected}", expected)
    return Misfit("", f"{show(value)} is not {expected}{ask(near) if near and near != value else ''}", expected)


@functools.lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(strict=True))


def _has_inside(kind: Any) -> bool:
    """Whether values of this type hold others, or are nodes: what is not left to pydantic."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _has_inside(args[0])
    if _is_union(kind):
        return any(_has_inside(arm) or _is_node(arm) for arm in args)
    return origin in (list, tuple, dict)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (Union, types.UnionType)


def _is_node(kind: Any) -> bool:
    """Whether it is the class Recipe, which stands above this module."""
    return isinstance(kind, type) and getattr(kind, "is_node", False) is True


def _takes_float(kind: Any) -> bool:
    if kind is float:
        return True
    if typing.get_origin(kind) is typing.Annotated:
        return _takes_float(typing.get_args(kind)[0])
    return _is_union(kind) and any(_takes_float(arm) for arm in typing.get_args(kind))


def _choices(kind: Any) -> list[str]:
    """All texts that a type takes by name."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return [choice for choice in args if isinstance(choice, str)]
    if origin is typing.Annotated:
        return _choices(args[0])
    return [choice for arm in args for choice in _choices(arm)] if _is_union(kind) else []
