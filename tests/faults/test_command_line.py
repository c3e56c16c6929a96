"""Rows F1, F3, F4 and F5: values, files and pairs that cannot be, told in one line before anything is begun."""

import ast
import math
import re
import shutil
from pathlib import Path

import pytest
from faults.commands import leaves, told

pytestmark = pytest.mark.usefixtures("elsewhere")

# What is written behind ``=``, and what it is.
WRITTEN = {
    "oops": "oops",
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "1e3": 1000.0,
    "1e400": math.inf,
    "9223372036854775808": 2**63,
    "-inf": -math.inf,
    "nan": math.nan,
    "true": True,
    "null": None,
    "": "",
    "'3'": "3",
    "٣": "٣",
    "[1,oops]": [1, "oops"],
    "{a: oops}": {"a": "oops"},
}


def _whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spelled(value):
    """Numbers that YAML leaves as text are numbers, too: ``1e-3``."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]*)?([eE]-?[0-9]+)?", value) else value


# The kinds of value, in words of this test: what fits, and what an error calls it.
FITS = {
    "int": (_whole, "a whole number"),
    "Count": (lambda value: _whole(value) and 1 <= value < 2**63, "a whole number, 1 or more"),
    "Size": (lambda value: _whole(value) and 0 <= value < 2**63, "a whole number, 0 or more"),
    "Threads": (lambda value: _whole(value) and 1 <= value <= 1024, "a whole number from 1 to 1024"),
    "Processes": (lambda value: _whole(value) and 0 <= value <= 1024, "a whole number from 0 to 1024"),
    "float": (lambda value: _number(_spelled(value)), "a finite number"),
    "Number": (lambda value: _number(_spelled(value)), "a finite number"),
    "Fraction": (lambda value: _number(_spelled(value)) and 0 <= _spelled(value) <= 1, "a number from 0 to 1"),
    "Decay": (lambda value: _number(_spelled(value)) and 0 <= _spelled(value) < 1, "a number from 0 to below 1"),
    "Positive": (lambda value: _number(_spelled(value)) and _spelled(value) > 0, "a number above 0"),
    "NonNegative": (lambda value: _number(_spelled(value)) and _spelled(value) >= 0, "a number, 0 or more"),
    "Seconds": (lambda value: _number(_spelled(value)) and _spelled(value) > 0, "a number of seconds above 0"),
    "LearningRate": (lambda value: value == "auto" or (_number(_spelled(value)) and _spelled(value) > 0), "a number above 0, or auto"),
    "Duration": (lambda value: _number(_spelled(value)) and _spelled(value) > 0, "a duration above 0"),
    "DurationOrZero": (lambda value: _number(_spelled(value)) and _spelled(value) >= 0, "a duration"),
    "Views": (lambda value: value in ("none", "mirror", "mirror_shift"), "one of 'none', 'mirror', 'mirror_shift'"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "str": (lambda value: isinstance(value, str), "text"),
    "None": (lambda value: value is None, "null"),
    "Any": (lambda value: True, "anything"),
}
LEAVES = [leaf for leaf in leaves() if leaf.verb != "resume" or leaf.key != "run"]  # which is the name of a folder, whatever it is


def fits(node: ast.expr, value) -> bool:
    """Whether a value is of the annotated kind, by the table above."""
    if isinstance(node, ast.BinOp):
        return fits(node.left, value) or fits(node.right, value)
    if not isinstance(node, ast.Subscript):
        return FITS[ast.unparse(node)][0](value)
    form, inner = node.value.id, node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if form == "Literal":
        return any(value == ast.literal_eval(one) and type(value) is type(ast.literal_eval(one)) for one in inner)
    if form == "dict":
        return isinstance(value, dict) and all(fits(inner[1], item) for item in value.values())
    if not isinstance(value, list):
        return False
    if form == "list" or ast.unparse(inner[-1]) == "...":
        return all(fits(inner[0], item) for item in value)
    return len(value) == len(inner) and all(map(fits, inner, value))


def expected(node: ast.expr) -> list[str]:
    """Words of which an error has to use one, to say what the value could be."""
    if isinstance(node, ast.BinOp):
        return expected(node.left) + expected(node.right)
    if not isinstance(node, ast.Subscript):
        return [FITS[ast.unparse(node)][1]]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if node.value.id == "Literal":
        return [ast.unparse(one) for one in inner]
    return ["a list"] + expected(inner[0]) if node.value.id != "dict" else ["keys with values", *expected(inner[1])]


def _bad(leaf):
    node = ast.parse(leaf.kind, mode="eval").body
    return [text for text, value in WRITTEN.items() if not fits(node, value)]


def _of_each_kind():
    """Each bad value once for each kind of key: an annotation without what its ``None``, ``auto`` and lists of words add."""
    done = set()
    for leaf in LEAVES:
        kind = re.sub(r"Literal\[['a-z].*?\]", "Literal", leaf.kind).split(" | ")[0]
        for text in _bad(leaf):
            if (kind, text) not in done:
                done.add((kind, text))
                yield leaf, text


def _of_each_key():
    """One bad value for every key of every option, another one for each."""
    for turn, leaf in enumerate(LEAVES):
        if bad := _bad(leaf):  # but for those that take anything
            yield leaf, bad[turn % len(bad)]


def refuse_each(injected, capsys, fault):
    """Give each value to its key: it is refused, and the line names key, value and what would fit."""
    lapses, injected = [], list(injected)
    for leaf, text in injected:
        try:
            line = told(capsys, *leaf.command, f"{leaf.key}={text}")
            assert leaf.key in line, f"{leaf.key}={text}: the key is not named: {line}"
            shown = {"True": "true", "None": "null"}.get(str(WRITTEN[text]), str(WRITTEN[text]))
            assert any(part in line for part in (shown, "oops", "1 is not")), f"{leaf.key}={text}: the value is not named: {line}"
            words = expected(ast.parse(leaf.kind, mode="eval").body)
            assert any(word in line for word in words), f"{leaf.key}={text}: none of {words}: {line}"
        except AssertionError as error:
            lapses.append(str(error).splitlines()[0])
            for path in Path.cwd().iterdir():
                shutil.rmtree(path)
        else:
            fault("F1", f"{leaf.key}={text}")
    assert not lapses, "\n".join([f"{len(lapses)} of {len(injected)}", *lapses])
    return len(injected)


def test_every_bad_value_for_each_kind_of_key(fault, capsys):
    assert refuse_each(_of_each_kind(), capsys, fault) >= 120


@pytest.mark.slow
def test_a_bad_value_for_every_key(fault, capsys):
    assert refuse_each(_of_each_key(), capsys, fault) >= 200
