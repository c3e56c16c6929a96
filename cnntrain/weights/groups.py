"""Parameter groups by learning rate: which parameters learn faster or slower than the schedule's rate."""

from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from cnntrain.config.suggest import did_you_mean
from cnntrain.errors import ConfigError


def grouped(model: nn.Module, lr_scale: dict[str, float]) -> list[dict[str, Any]]:
    """The trainable parameters, one group for each factor of the learning rate.

    ``lr_scale`` has factors by pattern of the parameter's name, with ``*``, ``?`` and ``[…]`` as in a shell (``"*.bias": 64``); of several
    that match the last one counts, and what none matches has the factor 1. The groups stand in the order of their last matrices, by which
    an optimizer knows the classifier.

    Raises:
        ConfigError: nothing can be trained, or a pattern matches no parameter that is.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not names:
        raise ConfigError("the model has no trainable parameter", where="model", fix="choose a model that has some, such as model=lenet5")
    for pattern in lr_scale:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise _unmatched(pattern, names)
    groups: dict[float, list[nn.Parameter]] = {}
    last: dict[float, int] = {}
    for place, name in enumerate(names):
        parameter = model.get_parameter(name)
        factor = next((float(value) for pattern, value in reversed(lr_scale.items()) if fnmatchcase(name, pattern)), 1.0)
        groups.setdefault(factor, []).append(parameter)
        last[factor] = place if parameter.ndim == 2 else last.get(factor, -1)
    return [{"params": groups[factor], "lr_scale": factor} for factor in sorted(groups, key=lambda factor: last[factor])]


def _unmatched(pattern: str, names: list[str]) -> ConfigError:
    near = did_you_mean(pattern.strip("*."), dict.fromkeys([*names, *(part for name in names for part in name.split("."))]))
    shown = ", ".join(names[:4]) + (f", … {names[-1]}" if len(names) > 4 else "")
    return ConfigError(
        f"the pattern {pattern!r} matches no parameter that is trained{near}",
        where="weights.lr_scale",
        fix=f"weights.lr_scale=null, or a pattern of the names, which are {shown} (cnntrain summary layers=all lists the layers)",
    )
