"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

For hidden weights only. A filter (out, in, k, k) is taken as the matrix (out, in k k); torch.optim.Muon refuses it. The update is
the Nesterov momentum, moved close to the nearest semi-orthogonal matrix by five steps of a quintic Newton-Schulz iteration, times
sqrt(max(1, rows / columns)) of that matrix (the original scale, not that of Moonshot, which imitates AdamW's size). As in the original,
the gradient enters its momentum with weight 1 - momentum.

Everything else steps by SGD with Nesterov momentum in the same optimizer, at ``rest_lr`` times the learning rate: norms, biases and,
unless ``head: muon``, the last matrix (the classifier), which is not a hidden weight. The first filters stay with Muon, as in Jordan's
CIFAR-10 speed runs. Decay is decoupled everywhere: p -= lr * weight_decay * p.

With ``fixed_norm`` each hidden weight is brought to norm sqrt(rows) before its step, in place of decay, and the update is not scaled, as in
Jordan's airbench94_muon (2024, https://github.com/KellerJordan/cifar10-airbench): under batch norm only a filter's direction matters, and
with its norm fixed the learning rate alone says how fast that turns.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from cnntrain.optimizer.groups import split
from cnntrain.units import Count, Decay, LearningRate, NonNegative, Positive

# The quintic a x + b x^3 + c x^5 of the original: steep at 0, so that five steps bring singular values from near 0 to about 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def muon(
    *,
    params: list[dict[str, Any]],
    lr: LearningRate = 0.02,
    momentum: Decay = 0.95,
    weight_decay: NonNegative = 0.02,
    iterations: Count = 5,
    fixed_norm: bool = False,
    head: Literal["sgd", "muon"] = "sgd",
    rest_lr: Positive = 1.0,
    rest_momentum: Decay | None = None,
    decay_norms: bool = False,
) -> "Muon":
    """Makes the optimizer; ``rest_lr`` becomes part of the ``lr_scale`` of the groups that SGD steps."""
    last = next((p for group in reversed(params) for p in reversed(group["params"]) if p.ndim == 2), None)
    groups = []
    for group in split(params, lr=lr, weight_decay=weight_decay, decay_norms=decay_norms):
        hidden = [p for p in group["params"] if p.ndim >= 2 and (head == "muon" or p is not last)]
        kept = {id(p) for p in hidden}
        rest = [p for p in group["params"] if id(p) not in kept]
        for members, orthogonal, factor in ((hidden, True, 1.0), (rest, False, rest_lr)):
            if members:
                scaled = {"lr": group["lr"] * factor, "lr_scale": group["lr_scale"] * factor}
                groups.append({**group, **scaled, "params": members, "orthogonal": orthogonal})
                if not orthogonal and rest_momentum is not None:
                    groups[-1]["momentum"] = rest_momentum
    return Muon(groups, momentum=momentum, iterations=iterations, fixed_norm=fixed_norm)


class Muon(torch.optim.Optimizer):
    """Steps groups with ``orthogonal`` by Muon and the others by SGD, both with Nesterov momentum.

    Each group has lr, lr_scale, weight_decay, orthogonal; its state is one ``momentum_buffer`` for each parameter. As torch's fused
    optimizers do, it leaves all as it is where ``found_inf`` (a tensor on the device, set before the step) is not zero, without waiting.
    """

    _step_supports_amp_scaling = True  # by which torch and the engine know that
    found_inf: Tensor | None = None

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float = 0.95, iterations: int = 5, fixed_norm: bool = False) -> None:
        super().__init__(groups, {"momentum": momentum, "iterations": iterations, "fixed_norm": fixed_norm})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step on every parameter that has a gradient; the loss of the closure, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_if_finite(parameter, parameter.grad, group)
        return loss

    def _step_if_finite(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)  # keeps the memory format, such as channels_last
        changing = (parameter, state["momentum_buffer"])
        before = [] if self.found_inf is None else [tensor.clone() for tensor in changing]
        self._step_one(parameter, grad, group)
        for tensor, old in zip(changing, before, strict=False):
            tensor.copy_(torch.where(self.found_inf == 0, tensor, old))

    def _step_one(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        buffer, momentum = self.state[parameter]["momentum_buffer"], group["momentum"]
        if group["orthogonal"]:
            buffer.lerp_(grad, 1 - momentum)
            update = grad.lerp(buffer, momentum).flatten(1)  # (out, in k k)
            rows, columns = update.shape
            update = orthogonalise(update, iterations=group["iterations"]).reshape(parameter.shape)
            scale = 1.0 if group["fixed_norm"] else max(1.0, rows / columns) ** 0.5
        else:
            buffer.mul_(momentum).add_(grad)
            update, scale = grad.add(buffer, alpha=momentum), 1.0
        if group["orthogonal"] and group["fixed_norm"]:
            parameter.mul_(rows**0.5 / parameter.norm().clamp(min=1e-7))
        else:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * scale)


def orthogonalise(matrix: Tensor, *, iterations: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Moves a matrix (rows, columns) towards U V^T of its singular value decomposition; singular values end at about 0.7 to 1.2.

    In bfloat16 on CUDA, as the original, and in the matrix's own type elsewhere: CPUs without bfloat16 arithmetic are slower with it.
    """
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype or (torch.bfloat16 if matrix.is_cuda else matrix.dtype))
    tall = x.size(0) > x.size(1)
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=1e-7)  # the Frobenius norm bounds the spectral norm, which the iteration needs to be at most 1
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype)
