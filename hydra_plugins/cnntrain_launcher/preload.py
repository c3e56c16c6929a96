"""What the parent of forked jobs imports for them, once."""

from collections.abc import Iterator, Sequence
from typing import Any

from cnntrain.config.recipe import Recipe
from cnntrain.config.source import load
from cnntrain.errors import CnntrainError


def import_what_they_need(recipes: Sequence[Recipe]) -> None:
    """Import in the parent, once, what every child would import: ours only, for others' modules may do anything.

    One thread is set before any tensor operation: a pool of threads would not survive the fork, and the child would hang.
    """
    import torch
    import torch.utils.tensorboard

    import cnntrain.engine.run  # noqa: F401

    torch.set_num_threads(1)

    for target in sorted({target for recipe in recipes for target in _targets(recipe) if target.startswith("cnntrain.")}):
        try:
            load(target)
        except (CnntrainError, ImportError):
            continue  # the job that needs it will say so


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Recipe):
        yield value.target
        yield from _targets(list(value.values.values()))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _targets(item)
