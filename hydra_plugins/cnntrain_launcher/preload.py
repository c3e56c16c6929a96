"""What the parent of forked jobs imports for them, once."""

import gc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cnntrain.config.source import load
from cnntrain.errors import CnntrainError

if TYPE_CHECKING:
    from cnntrain.config.recipe import Recipe  # Hydra imports this module whenever it composes, and --cfg has no time for pydantic


def import_what_they_need(recipes: Sequence["Recipe"]) -> None:
    """Import in the parent, once, what every child would import: ours only, for others' modules may do anything.

    One thread is set before any tensor operation: a pool of threads would not survive the fork, and the child would hang.
    """
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont
    import tensorboard.plugins.hparams.metadata  # noqa: F401 (these are for the children)
    import torch
    import torch.utils.tensorboard

    import cnntrain.engine.pictures
    import cnntrain.engine.run  # noqa: F401

    PIL.Image.preinit()
    torch.set_num_threads(1)
    for target in sorted({target for recipe in recipes for target in _targets(recipe) if target.startswith("cnntrain.")}):
        try:
            load(target)
        except (CnntrainError, ImportError):
            continue  # the job that needs it will say so
    gc.freeze()  # or each child looks through all of this for garbage, and so copies its pages


def _targets(value: Any) -> Iterator[str]:
    from cnntrain.config.recipe import Recipe

    if isinstance(value, Recipe):
        yield value.target
        yield from _targets(list(value.values.values()))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _targets(item)
