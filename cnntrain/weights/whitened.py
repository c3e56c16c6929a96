"""From scratch, but for a first layer that whitens the data's patches and is frozen (``layer/whitening.py`` has the papers)."""

from collections.abc import Callable

from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.whitening import Whitening
from cnntrain.units import Count, Positive
from cnntrain.weights.groups import grouped


def whitened(
    *,
    model: nn.Module,
    inputs: Callable[[int], Tensor],
    pictures: Count = 5000,
    eps: Positive = 0.0005,
    lr_scale: dict[str, Positive] | None = None,
) -> tuple[nn.Module, list[dict]]:
    """The model with the filters of its first whitening layer computed from ``pictures`` training pictures, and no longer trained.

    Their bias is trained. ``lr_scale`` as in :func:`grouped`.

    Raises:
        ConfigError: the model has no whitening layer, nothing else can be trained, or a pattern matches nothing.
    """
    layer = next((module for module in model.modules() if isinstance(module, Whitening)), None)
    if layer is None:
        raise ConfigError(
            f"{type(model).__name__} has no whitening layer",
            where="weights=whitened",
            fix="weights=scratch, or a model that has one, such as model=speedrun",
        )
    layer.whiten(inputs(pictures), eps=eps)
    layer.weight.requires_grad_(False)
    return model, grouped(model, lr_scale or {})
