"""Training from scratch: the model's own initial values, and everything learns, at one rate unless told otherwise."""

from torch import nn

from cnntrain.units import Positive
from cnntrain.weights.groups import grouped


def scratch(*, model: nn.Module, lr_scale: dict[str, Positive] | None = None) -> tuple[nn.Module, list[dict]]:
    """The model as it is, with a group of all trainable parameters for each factor of ``lr_scale`` (see :func:`grouped`).

    Raises:
        ConfigError: nothing can be trained, or a pattern matches nothing.
    """
    return model, grouped(model, lr_scale or {})
