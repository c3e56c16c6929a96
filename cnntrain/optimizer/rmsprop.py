"""RMSprop (Tieleman & Hinton 2012, Coursera lecture 6.5; centred: Graves 2013, arXiv 1308.0850)."""

from typing import Any

import torch

from cnntrain.optimizer.groups import split
from cnntrain.units import Decay, LearningRate, NonNegative, Positive


def rmsprop(
    *,
    params: list[dict[str, Any]],
    lr: LearningRate = 0.001,
    alpha: Decay = 0.99,
    momentum: Decay = 0.0,
    centered: bool = False,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = False,
) -> torch.optim.RMSprop:
    """Makes the optimizer: the gradient over the root of its mean square (``alpha`` of the old mean is kept), then momentum.

    torch has no fused kernel for it; its own choice is a loop on the CPU and foreach on an accelerator.
    """
    groups = split(params, lr=lr, weight_decay=weight_decay, decay_norms=decay_norms)
    return torch.optim.RMSprop(groups, lr=1.0, alpha=alpha, momentum=momentum, centered=centered, eps=eps)
