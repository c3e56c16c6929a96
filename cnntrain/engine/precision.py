"""From a batch to a changed weight: microbatches, mixed precision, the finite check, clipping and the step."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from cnntrain.engine.machine import Machine
from cnntrain.errors import DivergedError

Stats = dict[str, Tensor]


class Precision:
    """Runs forward and backward of a batch and steps the optimizer, if and only if every gradient is finite.

    ``microbatch`` splits what a step sees into parts of that many samples; their gradients are weighted by sample count,
    so that the step is that of the whole batch (but for batch norm, which sees a part at a time).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, machine: Machine, clip: float | None, microbatch: int | None) -> None:
        self.machine, self.clip, self.microbatch = machine, clip, microbatch
        self.optimizer = optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "fp16")
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)
        self._skips_on_device = machine.device.type == "cuda" and fused and not self.scaler.is_enabled()
        self._loss = torch.zeros(())  # the sum over the batch whose gradients there are

    def backward(self, objective, model: nn.Module, inputs: Tensor, targets: Tensor) -> Stats:
        """Gradients of the mean loss over the batch; returns the summed statistics, on the device."""
        size, part = len(inputs), self.microbatch or len(inputs)
        total: Stats = {}
        for start in range(0, size, part):
            some, wanted = inputs[start : start + part], targets[start : start + part]
            with self.machine.autocast():
                loss, stats = objective(model, some, wanted)
            self.scaler.scale(loss if part >= size else loss * (len(some) / size)).backward()
            total = stats if not total else {name: total[name] + value for name, value in stats.items()}
        self._loss = total["loss_sum"]
        return total

    def step(self, step: int) -> Tensor:
        """Clip, check and step; returns the gradients' norm before clipping, on the device.

        Raises:
            DivergedError: the loss or a gradient is not finite. The weights are as they were.
        """
        self.scaler.unscale_(self.optimizer)
        grads = [p.grad for p in self.parameters if p.grad is not None]
        # As torch.nn.utils.get_total_norm, but for its sorting of tensors by device and type, which takes twice as long as the norm.
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        if self._skips_on_device:  # the fused kernel skips the step itself: no wait for the device here
            # Of a norm that is not finite the loss that is counted is made so, too: however late the host looks, it sees it.
            self.optimizer.found_inf = (~torch.isfinite(self._loss.add_(norm, alpha=0))).float()  # type: ignore[attr-defined]
        elif not self.scaler.is_enabled():
            self._check(norm, step)
        if self.clip is not None:
            clip_grads_with_norm_(self.parameters, self.clip, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _check(self, norm: Tensor, step: int) -> None:
        for name, value in (("loss", float(self._loss)), ("gradient's norm", float(norm))):
            if not math.isfinite(value):
                lr = self.optimizer.param_groups[0]["lr"]
                raise DivergedError(
                    f"Training diverged: the {name} is {value} in step {step + 1} at learning rate {lr:.4g}; no weight was changed",
                    where=f"step {step + 1}",
                    fix=f"optimizer.lr={float(f'{lr / 10:.1g}'):g}, or clip=1.0",
                    step=step,
                )


def set_hyperparameters(optimizer: torch.optim.Optimizer, values: dict[str, float]) -> dict[str, float]:
    """Write a step's learning rate (times each group's own factor) and momentum into the optimizer.

    Returns them, as the step uses them, and what else there is in ``values``; no momentum if the optimizer has none.
    """
    momentum = 0.0
    for group in optimizer.param_groups:
        group["lr"] = values["lr"] * group["lr_scale"]
        if "betas" in group:
            momentum = values.get("momentum", group["betas"][0])
            group["betas"] = (momentum, group["betas"][1])
        elif group.get("momentum"):
            momentum = group["momentum"] = values.get("momentum", group["momentum"])
    others = {name: value for name, value in values.items() if name != "momentum"}
    return {**others, **({"momentum": momentum} if momentum else {})}
