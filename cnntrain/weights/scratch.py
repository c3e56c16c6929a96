"""Training from scratch: the model's own initial values, and everything learns at one rate."""

from torch import nn

from cnntrain.errors import ConfigError


def scratch(*, model: nn.Module) -> tuple[nn.Module, list[dict]]:
    """The model as it is, with one group of all parameters that are trainable.

    Raises: ConfigError if none is.
    """
    params = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not params:
        raise ConfigError("the model has no trainable parameter", where="model", fix="choose a model that has some, such as model=lenet5")
    return model, [{"params": params, "lr_scale": 1.0}]
