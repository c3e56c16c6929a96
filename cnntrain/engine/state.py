"""Everything that training changes: what a checkpoint must hold for a run to go on as if it had never stopped.

Names in the file: ``model.NAME``, ``average.NAME``, ``optimizer.NAME/KEY`` (a parameter's name and the optimizer's key for it),
``generator.cpu`` and ``generator.device`` (dropout's; every other draw is a function of position), ``sums.window`` and ``sums.epoch``.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnntrain.engine.average import Average
from cnntrain.engine.checkpoint import Checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.machine import is_out_of_memory
from cnntrain.engine.stopping import Judge
from cnntrain.errors import CheckpointError, DivergedError

BACKOFF = 0.5  # of the learning rate, each time the run is rolled back


class State:
    """The run's changing part. ``step`` steps and ``epoch`` evaluated epochs are done; ``rollbacks``: the steps that it was put back to.

    ``means``: the figures of training, each with the statistic of the objective whose mean over the samples it is; the first is the loss.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: Average,
        scaler: torch.amp.GradScaler,
        judge: Judge,
        means: Mapping[str, str],
    ) -> None:
        self.model, self.optimizer, self.average, self.scaler, self.judge = model, optimizer, average, scaler, judge
        self.step = self.epoch = 0
        self.rollbacks: list[int] = []
        self.metrics: dict[str, float] = {}
        self.device = next(model.parameters()).device
        # float64, so that an epoch of a million samples still counts every one of them
        self._sums_on = torch.device("cpu") if self.device.type == "mps" else self.device  # which has no float64
        self.means = dict(means)
        table = torch.zeros(2, len(means) + 1, dtype=torch.float64, device=self._sums_on)
        self.sums = {"window": table[0], "epoch": table[1]}
        self._measured, self._count = table[:, :-1], table[:, -1]  # of both

    def advance(self, stats: dict[str, Tensor]) -> None:
        """One step is done: count it, and add its statistics to the running sums (no wait for the device)."""
        self.step += 1
        self._measured += torch.stack([stats[name] for name in self.means.values()]).to(self._sums_on)
        self._count += stats["count"]

    def check_loss(self) -> None:
        """Raise DivergedError if a loss since the epoch's start was not finite."""
        loss = float(self.sums["epoch"][0])
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}")

    def check_finite(self) -> None:
        """Raise DivergedError if that loss or a number of the state is not finite: such a state is not to be judged or kept.

        It may be batch norm's statistics alone, which training never reads, or the weights since their last step.
        """
        self.check_loss()
        names = [name for name, value in self.tensors().items() if value.is_floating_point() and not value.isfinite().all()]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise self._diverged(f"{', '.join(names[:3])}{more} {'is' if len(names) == 1 else 'are'} not finite")

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"Training diverged: {what} by step {self.step}",
            where=f"step {self.step}",
            fix="a lower optimizer.lr, or clip=1.0; the last checkpoint is from before",
        )

    def lr_factor(self, step: int) -> float:
        """What the schedule's learning rate of a step is multiplied by: half for each time that the run was put back, from there on."""
        return BACKOFF ** sum(step >= place for place in self.rollbacks)

    def judged(self, metrics: dict[str, float], monitor: str) -> bool:
        """Take in an evaluation; True if it is the best so far."""
        self.metrics = metrics
        return self.judge.see(metrics[monitor], self.step, loss=metrics["loss"])

    def take(self, name: str) -> dict[str, float]:
        """The figures since the last call for this name ("window" or "epoch"); starts them afresh."""
        *sums, count = self.sums[name].tolist()
        self.sums[name].zero_()
        return {figure: total / count for figure, total in zip(self.means, sums, strict=True)} if count else {}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their names in the file."""
        named = {id(p): name for name, p in self.model.named_parameters()}
        kept = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        kept |= {f"average.{name}": value for name, value in self.average.tensors().items()}
        for parameter, state in self.optimizer.state.items():
            kept |= {f"optimizer.{named[id(parameter)]}/{key}": torch.as_tensor(value) for key, value in state.items() if value is not None}
        kept["generator.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            kept["generator.device"] = torch.cuda.get_rng_state(self.device)
        return kept | {f"sums.{name}": value for name, value in self.sums.items()}

    def counters(self) -> dict[str, Any]:
        """All that is not a tensor, as JSON."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "rollbacks": self.rollbacks,
            "metrics": self.metrics,
            "best": self.judge.state(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, checkpoint: Checkpoint, clock: Clock) -> None:
        """Take back what :meth:`tensors` and :meth:`counters` gave.

        A run that ended within an epoch and now has more steps goes on within that epoch.

        Raises:
            CheckpointError: the file is of another model, or of another kind of run.
        """
        try:
            self._restore(checkpoint, clock)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(
                f"{checkpoint.path} does not hold the state of this run: {error}", where="checkpoint", fix="start a new run"
            ) from error

    def _restore(self, checkpoint: Checkpoint, clock: Clock) -> None:
        tensors, meta = checkpoint.tensors, checkpoint.meta
        load_weights(self.model, tensors, "model.", source=str(checkpoint.path))
        self.average.go_to(meta["step"])
        if self.average.model is not self.model:
            load_weights(self.average.model, tensors, judged_prefix(tensors), source=str(checkpoint.path))
        self._restore_optimizer(tensors)
        torch.set_rng_state(tensors["generator.cpu"])
        if self.device.type == "cuda" and "generator.device" in tensors:
            torch.cuda.set_rng_state(tensors["generator.device"], self.device)
        for name, sums in self.sums.items():
            sums.copy_(tensors[f"sums.{name}"])
        self.step, self.epoch, self.metrics = meta["step"], meta["epoch"], meta["metrics"]
        self.rollbacks = list(meta.get("rollbacks", []))  # which no checkpoint had before the key nan
        if clock.start(self.epoch) > self.step and self.step < clock.total:
            self.epoch = self.step // clock.steps_per_epoch
        self.judge.restore(meta["best"])
        if self.scaler.is_enabled() and meta["scaler"]:
            self.scaler.load_state_dict(meta["scaler"])

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Each state tensor is copied into ``empty_like(parameter)``.

        Fused kernels pair a weight with its state by raw memory order, so a state that merely has the right shape would
        resume silently wrong under channels_last.
        """
        parameters = dict(self.model.named_parameters())
        self.optimizer.state.clear()  # a run that is rolled back has some already
        for name, value in tensors.items():
            if not name.startswith("optimizer."):
                continue
            owner, _, key = name.removeprefix("optimizer.").rpartition("/")
            parameter = parameters[owner]
            same = value.shape == parameter.shape and value.dim() > 0
            mine = torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format) if same else torch.empty_like(value)
            self.optimizer.state[parameter][key] = mine.copy_(value) if same else self._beside(parameter, mine.copy_(value))

    def _beside(self, parameter: Tensor, value: Tensor) -> Tensor:
        """A scalar such as Adam's step count lives on the device only for fused and capturable kernels."""
        on_device = any(group.get("fused") or group.get("capturable") for group in self.optimizer.param_groups)
        return value.to(parameter.device) if on_device or value.shape == parameter.shape else value


def judged_prefix(tensors: dict[str, Tensor]) -> str:
    """Where the judged weights stand in a checkpoint: the average's, if the run kept one."""
    return "average." if any(name.startswith("average.") for name in tensors) else "model."


def load_weights(model: nn.Module, tensors: dict[str, Tensor], prefix: str, *, source: str) -> None:
    """Copy the tensors under ``prefix`` into the model, keeping its memory format.

    Raises:
        CheckpointError: names, shapes or types differ (the first five differences are named), or a number is not finite.
    """
    theirs = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    mine = model.state_dict()
    wrong = [f"{name} is missing" for name in mine if name not in theirs]
    wrong += [f"{name} is not in the model" for name in theirs if name not in mine]
    wrong += [
        f"{name} is {_kind(theirs[name])}, the model's is {_kind(value)}"
        for name, value in mine.items()
        if name in theirs and _kind(theirs[name]) != _kind(value)
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"{source} is of another model: {'; '.join(wrong[:5])}{more}",
            where="checkpoint",
            fix="leave the model's settings as the checkpoint has them",
        )
    broken = [name for name, value in theirs.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{source} has weights that are not finite: {', '.join(broken[:5])}",
            where="checkpoint",
            fix="name an earlier checkpoint, such as previous.safetensors beside it",
        )
    model.load_state_dict(theirs)


def _kind(value: Tensor) -> str:
    """A tensor's shape, and its type where that is not the usual one."""
    return f"{tuple(value.shape)}" + ("" if value.dtype == torch.float32 else f" of {value.dtype}")
