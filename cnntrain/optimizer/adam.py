"""Adam (Kingma & Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

from typing import Any

import torch

from cnntrain.optimizer.groups import can_fuse, split
from cnntrain.units import Decay, LearningRate, NonNegative, Positive


def adam(
    *,
    params: list[dict[str, Any]],
    lr: LearningRate = 0.001,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = False,
) -> torch.optim.Adam:
    """Makes Adam. Weight decay is added to the gradient, and so divided by its size: see :func:`adamw` for the one that is not."""
    groups = split(params, lr=lr, weight_decay=weight_decay, decay_norms=decay_norms)
    return torch.optim.Adam(groups, lr=1.0, betas=(betas[0], betas[1]), eps=eps, fused=can_fuse(groups))


def adamw(
    *,
    params: list[dict[str, Any]],
    lr: LearningRate = 0.001,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.05,
    decay_norms: bool = False,
) -> torch.optim.AdamW:
    """Makes AdamW: Adam with decoupled decay, p -= lr * weight_decay * p."""
    groups = split(params, lr=lr, weight_decay=weight_decay, decay_norms=decay_norms)
    return torch.optim.AdamW(groups, lr=1.0, betas=(betas[0], betas[1]), eps=eps, fused=can_fuse(groups))
