"""Stochastic gradient descent: plain, with momentum (Polyak 1964), or Nesterov's (Sutskever et al. 2013, ICML)."""

from typing import Any

import torch

from cnntrain.optimizer.groups import can_fuse, split
from cnntrain.units import Decay, LearningRate, NonNegative


def sgd(
    *,
    params: list[dict[str, Any]],
    lr: LearningRate = 0.05,
    momentum: Decay = 0.9,
    nesterov: bool = True,
    weight_decay: NonNegative = 0.0005,
    decay_norms: bool = False,
) -> torch.optim.SGD:
    """Makes the optimizer: v = momentum v + g; p -= lr (g + momentum v) with Nesterov, lr v without.

    ``momentum`` 0 is plain gradient descent, where ``nesterov`` means nothing and is off. Weight decay adds weight_decay * p to g.
    """
    groups = split(params, lr=lr, weight_decay=weight_decay, decay_norms=decay_norms)
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=momentum, nesterov=nesterov and momentum > 0, fused=can_fuse(groups))
    if momentum > 0 and can_fuse(groups):
        # The fused kernel makes this buffer without filling it; a first step that is skipped (overflow in fp16) would leave what lay there.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
