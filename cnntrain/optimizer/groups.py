"""Parameter groups: which are decayed, at which learning rate they start, and whether a fused kernel can step them."""

from typing import Any

from cnntrain.errors import ConfigError

FUSED_DEVICES = ("cpu", "cuda")


def split(params: list[dict[str, Any]], *, lr: float | str, weight_decay: float, decay_norms: bool) -> list[dict[str, Any]]:
    """Splits every group into decayed and not decayed parameters, keeping its ``lr_scale`` and nothing else.

    Filters and matrices (two or more dimensions) are decayed; norms and biases (fewer) only when ``decay_norms``: decaying them
    regularises nothing (He et al. 2019, "Bag of Tricks", arXiv 1812.01187, section 3.1). Groups left empty are dropped.

    Raises:
        ConfigError: there is no parameter at all, or ``lr`` is still "auto".
    """
    if isinstance(lr, str):
        raise ConfigError(f"the learning rate is still {lr}", where="optimizer.lr", fix="give a number, such as optimizer.lr=0.1")
    groups = []
    for group in params:
        scale = group["lr_scale"]
        decayed = [p for p in group["params"] if decay_norms or p.ndim >= 2]
        plain = [p for p in group["params"] if not (decay_norms or p.ndim >= 2)]
        for members, decay in ((decayed, weight_decay), (plain, 0.0)):
            if members:
                groups.append({"params": members, "lr": lr * scale, "lr_scale": scale, "weight_decay": decay})
    if not groups:
        raise ConfigError("there is no parameter to train", where="weights", fix="leave at least one layer unfrozen")
    return groups


def can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether torch's fused kernels can step all parameters: floating point, on a CPU or a CUDA device.

    On a CPU too they take about half the time of a loop or foreach (SGD, Adam and AdamW; LeNet-5 and ResNet-18, one thread);
    on an accelerator they alone skip a step with non-finite gradients without waiting for the device.
    """
    parameters = [p for group in groups for p in group["params"]]
    return all(p.is_floating_point() and p.device.type in FUSED_DEVICES for p in parameters)
