"""The facts in a checkpoint, JSON that anybody may have written: each is of its kind before it is used, and a missing one says so."""

import json
import math
from typing import Any

from cnntrain.config.values import Misfit, fit, show
from cnntrain.engine.views import Views
from cnntrain.errors import CheckpointError
from cnntrain.units import Count, Duration, Number, Positive, Size

# Dotted names of what is known, where it is there; a user's own facts may stand beside it.
KINDS: dict[str, Any] = {
    "format": Count,
    "step": Size,
    "epoch": Size,
    "rows": Size,
    "rollbacks": list[Size],
    "threads": Count,
    "num_train": Count,
    "classes": list[str],
    "class_counts": list[Size],
    "mean": list[Number],
    "std": list[Positive],
    "metrics": dict[str, Any],
    "best": dict[str, Any],
    "scaler": dict[str, Any],
    "versions": dict[str, str],
    "aliases": dict[str, str],
    "model": dict[str, Any],
    "model.recipe": dict[str, Any],
    "model.recipe._target_": str,
    "model.facts": dict[str, Count],
    "config": dict[str, Any],
    "config.data": dict[str, Any],
    "config.loss": dict[str, Any],
    "config.objective": dict[str, Any],
    "config.schedule": dict[str, Any],
    "config.optimizer": dict[str, Any],
    "config.optimizer.lr": Positive,
    "config.seed": Size,
    "config.tta": Views,
    "config.batch_size": Count,
    "config.epochs": Duration,
}
ABSENT = object()
MOST_AXES = 64  # torch's own limit
MEASURED = ("metrics", "best", "scaler")  # numbers, also NaN and infinity: what was measured can be that
# Lists of one item for each class, or each channel.
LENGTHS = {"classes": "num_classes", "class_counts": "num_classes", "mean": "in_channels", "std": "in_channels"}


class Facts(dict[str, Any]):
    """A JSON object of a checkpoint; a name that is not there is the file's fault."""

    source = ""

    def __missing__(self, name: str) -> Any:
        raise CheckpointError(
            f"Checkpoint {self.source} lacks {name!r}, which a cnntrain run writes",
            where="checkpoint",
            fix="name a checkpoint that cnntrain itself has written",
        )


def parse(text: bytes | str, source: str) -> Facts:
    """A JSON object, in which no name stands twice.

    Raises:
        ValueError: it is none, or is nested so deep that nobody can have meant it.
    """

    def once(pairs: list[tuple[str, Any]]) -> Facts:
        facts = Facts(pairs)
        if len(facts) < len(pairs):
            raise ValueError("a name stands twice")
        facts.source = source
        return facts

    try:
        found = json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, Facts):
        raise ValueError("it is no JSON object")
    return found


def check(facts: Facts) -> None:
    """Compare what is there with its kind.

    Raises:
        ValueError: the first fact that is of another.
    """
    for name, kind in KINDS.items():
        value = _at(facts, name)
        try:
            if value is not ABSENT:
                fit(value, kind)
        except Misfit as misfit:
            raise ValueError(f"{name}{misfit.inside}: {misfit.text}") from None
    for group in MEASURED:
        wrong = [name for name, value in facts.get(group, {}).items() if not isinstance(value, int | float | None)]
        if wrong:
            raise ValueError(f"{group}.{wrong[0]}: {show(facts[group][wrong[0]])} is not a number")
    for name, owner in LENGTHS.items():
        value, count = _at(facts, name), _at(facts, f"model.facts.{owner}")
        if value is not ABSENT and count is not ABSENT and len(value) != count:
            raise ValueError(f"{name} has {len(value)} items where {owner} is {count}")


def _at(facts: Facts, name: str) -> Any:
    node: Any = facts
    for part in name.split("."):
        node = node.get(part, ABSENT) if isinstance(node, dict) else ABSENT
    return node


def shape_of(entry: Any, size: int) -> list[int]:
    """The shape in a tensor's ``entry`` of the header, if it is one of ``size`` elements.

    Raises:
        ValueError: it is not.
    """
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
        raise ValueError(f"{shape!r:.60} is no shape")
    if math.prod(shape) != size or math.prod(max(length, 1) for length in shape) >= 1 << 48:
        raise ValueError(f"shape {shape!r:.60} does not have {size} elements")
    return shape
