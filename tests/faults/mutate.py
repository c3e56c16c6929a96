"""A bug put into the product's own source, for a test that must then fail."""

import functools
import importlib
import inspect
import sys
import textwrap


def mutate(monkeypatch, place: str, old: str, new: str) -> None:
    """Replace a piece of one function's source, e.g. of ``"cnntrain.engine.state:State.take"``, wherever the function is known.

    The piece must occur exactly once, so that no mutant outlives the code that it was made for.
    """
    module, _, path = place.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = inspect.getattr_static(owner, part)
    real = inspect.getattr_static(owner, name)
    function = inspect.unwrap(_function(real))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{place} has {old!r} {source.count(old)} times"
    scope: dict = {}
    exec(compile(source.replace(old, new), place, "exec"), function.__globals__, scope)
    buggy = scope[function.__name__]
    if hasattr(buggy, "__set_name__"):
        buggy.__set_name__(owner, name)
    monkeypatch.setattr(owner, name, buggy)
    if not outer:  # a function of a module: others have imported it by name
        for known in list(sys.modules.values()):
            for alias, value in list(getattr(known, "__dict__", {}).items()):
                if value is real and alias != "real":
                    monkeypatch.setattr(known, alias, buggy)


def _function(found):
    if isinstance(found, property):
        return found.fget
    if isinstance(found, functools.cached_property):
        return found.func
    return found.__func__ if isinstance(found, classmethod | staticmethod) else found
