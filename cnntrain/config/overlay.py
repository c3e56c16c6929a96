"""A sweep's configs: the files are composed once for all jobs that choose the same, and each job's values laid over a copy.

Laying values over the merged files is the last thing that Hydra does, too, so both ways give the same config, interpolations included.
What is not sure to (``+key``, ``~key``, a dict for a whole group) is left to Hydra.
"""

import copy
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf


def split(overrides: Sequence[Override], is_group: Callable[[Override], bool]) -> tuple[list[Override], list[Override]] | None:
    """The words that choose files or set Hydra's own keys, and those that lay a value over; None where their order might matter."""
    choosing: list[Override] = []
    laid: list[Override] = []
    for override in overrides:
        (choosing if is_group(override) or override.key_or_group.split(".")[0] == "hydra" else laid).append(override)
    if any(override.is_delete() or override.is_add() or override.package is not None for override in laid):
        return None
    return None if any(isinstance(override.value(), dict) for override in choosing) else (choosing, laid)


def lay(base: DictConfig, laid: Sequence[Override], overrides: Sequence[Override]) -> DictConfig:
    """A copy of ``base`` with the values of ``laid``, which says of itself that it was made of all the ``overrides``.

    Raises:
        OmegaConfBaseException: a key that is not there, or a value that does not fit.
    """
    config = copy.deepcopy(base)
    for override in laid:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=override.is_force_add())
    task = [override for override in overrides if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in task]
    how = config.hydra.job.config.override_dirname
    named = sorted(str(override.input_line) for override in task if override.key_or_group not in how.exclude_keys)
    config.hydra.job.override_dirname = how.item_sep.join(named).replace("=", how.kv_sep)
    return config
