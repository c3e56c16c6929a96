"""From the text of an annotation to a type, without evaluating it.

Known are the built-in kinds, ``Literal``, ``list``, ``tuple``, ``dict`` and their abstract forms, ``|``, ``Optional``, ``Union``, ``None``,
the aliases of ``cnntrain.units``, ``Recipe`` and ``Callable`` (which in a config is a node, too), and names that a module assigns to such a
thing. Any other name is ``Any``: a user's own class does not need our leave.
"""

import ast
import types
import typing
from typing import Any, Literal, Optional, Union

from cnntrain import units
from cnntrain.config.source import Module, Text, find_module

_DEPTH = 8  # aliases of aliases that are followed before a name counts as unknown
_KINDS: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "tuple": tuple, "dict": dict}
_FORMS = {
    "typing.Any": Any,
    "typing.List": list,
    "typing.Tuple": tuple,
    "typing.Dict": dict,
    "typing.Literal": Literal,
    "typing.Union": Union,
    "typing.Optional": Optional,
    "typing.Annotated": typing.Annotated,
    **{f"{module}.{name}": list for module in ("typing", "collections.abc") for name in ("Sequence", "MutableSequence")},
    **{f"{module}.{name}": dict for module in ("typing", "collections.abc") for name in ("Mapping", "MutableMapping")},
}
_CALLS = ("cnntrain.config.recipe.Recipe", "typing.Callable", "collections.abc.Callable")  # what is called is a node
_BARE = {list: list[Any], tuple: tuple[Any, ...], dict: dict[Any, Any]}


def resolve(node: ast.expr | None, module: Module, depth: int = 0) -> Any:
    """The type that an annotation in ``module``'s text means; Any where it has none that is known."""
    found = _form(node, module, depth)
    if found in (Literal, Union, Optional, typing.Annotated):
        return Any  # a form without its brackets
    return _BARE.get(found, found)


def from_object(annotation: Any) -> Any:
    """The type that an annotation of an imported object means, by the same rules."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, str):
        return resolve(ast.Constant(annotation), Module("", None, None))
    if annotation is None or annotation is type(None):
        return None
    if origin is Literal:
        return annotation
    if origin is typing.Annotated:
        return annotation if any(annotation == alias for alias in vars(units).values()) else from_object(args[0])
    if origin in (Union, types.UnionType):
        return _union([from_object(arg) for arg in args])
    form = _form_of_object(origin or annotation)
    if form in _BARE and args:
        return _filled(form, [arg if arg is ... else from_object(arg) for arg in args])
    return _BARE.get(form, form)


def _form_of_object(kind: Any) -> Any:
    name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
    if kind in _KINDS.values():
        return kind
    return _node() if name in _CALLS else _FORMS.get(name, Any)


def _form(node: ast.expr | None, module: Module, depth: int) -> Any:
    """A type, or a form that is still without its brackets."""
    if depth > _DEPTH:
        return Any
    if isinstance(node, ast.Constant):
        if node.value is None:
            return None
        return _quoted(node.value, module, depth)
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(_dotted(node), module, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([resolve(side, module, depth + 1) for side in (node.left, node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript(node, module, depth)
    return Any


def _quoted(text: object, module: Module, depth: int) -> Any:
    """An annotation in quotes, which names something that is defined further down."""
    try:
        node = ast.parse(str(text), mode="eval").body if isinstance(text, str) else None
    except SyntaxError:
        return Any
    return _form(node, module, depth + 1)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"  # something else has attributes: no name that is known


def _named(name: str, module: Module, depth: int) -> Any:
    text = module.read()
    first, _, rest = name.partition(".")
    if not rest and first in text.aliases:
        return _form(text.aliases[first], module, depth + 1)
    if first in text.definitions:
        return _node() if f"{module.name}.{name}" in _CALLS else Any
    if first not in text.imports:
        return _KINDS.get(name, Any)
    full = text.imports[first] + (f".{rest}" if rest else "")
    if full in _FORMS:
        return _FORMS[full]
    if full in _CALLS:
        return _node()
    if full.startswith("cnntrain.units."):
        return getattr(units, full.rpartition(".")[2], Any)
    return _alias_elsewhere(full, depth)


def _alias_elsewhere(full: str, depth: int) -> Any:
    """An alias that another module of ours assigns, such as a list of activations in ``cnntrain.layer``."""
    home, _, name = full.rpartition(".")
    if not full.startswith("cnntrain."):
        return Any
    found = find_module(home)
    text: Text | None = found.read() if found else None
    return _form(text.aliases[name], found, depth + 1) if text and found and name in text.aliases else Any


def _node() -> Any:
    """The type of a node."""
    from cnntrain.config.recipe import Recipe  # recipe.py stands on this module

    return Recipe


def _subscript(node: ast.Subscript, module: Module, depth: int) -> Any:
    form = _form(node.value, module, depth + 1)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if getattr(form, "is_node", False):  # Callable[..., nn.Module]
        return form
    if form is Literal:
        try:
            return Literal[tuple(ast.literal_eval(part) for part in parts)]
        except (ValueError, TypeError):
            return Any
    if form is typing.Annotated:
        return resolve(parts[0], module, depth + 1)
    args = [... if isinstance(part, ast.Constant) and part.value is ... else resolve(part, module, depth + 1) for part in parts]
    if form is Optional:
        return _union([*args, None])
    if form is Union:
        return _union(args)
    return _filled(form, args) if form in _BARE else Any


def _filled(form: Any, args: list[Any]) -> Any:
    if form is list and len(args) == 1:
        return list[args[0]]  # type: ignore[valid-type]
    if form is dict and len(args) == 2:
        return dict[args[0], args[1]]  # type: ignore[valid-type]
    if form is tuple:
        return tuple[tuple(args)]  # type: ignore[misc]
    return Any


def _union(arms: list[Any]) -> Any:
    return Any if any(arm is Any for arm in arms) else Union[tuple(arms)]  # noqa: UP007 - the arms are known at run time only
