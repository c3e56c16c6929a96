"""Room for a run's checkpoints, asked for before the first step: a disk that fills after hours of training is no news by then."""

import os
import shutil
from collections import defaultdict

import torch

from cnntrain.engine.run import Run
from cnntrain.engine.state import State
from cnntrain.errors import CheckpointError

_HEADER = 50_000  # bytes of names and facts
_NAMES = ("last", "previous", "best")


def check_room(run: Run, state: State, *, best: bool) -> None:
    """Refuse to start where the run's checkpoints will not fit; ``best``: whether there is an evaluation to choose one by.

    While one is written, the old ones are still there, so that is one more than in the end. What a resumed run has on disk counts as room.

    Raises:
        CheckpointError: the storage has less room; how much is said.
    """
    size = checkpoint_bytes(state)
    there = {status.st_ino: status.st_size for name in _NAMES for status in [_status(run, name)] if status is not None}
    need = size * (4 if best else 3) - sum(there.values())
    total, _, free = shutil.disk_usage(run.folder)
    if not total or need <= free:  # some file systems that live elsewhere do not say
        return
    kept = "last, previous, best" if best else "last, previous"
    more = " more" if there else ""
    short = f"{(need - free) / 1e6 + 0.1:,.1f} MB"
    raise CheckpointError(
        f"The run's checkpoints need {need / 1e6:,.1f} MB{more} ({kept} and one being written), {free / 1e6:,.1f} MB are free",
        where=str(run.folder),
        fix=f"free {short} there, then {run.resume_command}" if run.checkpoint else "hydra.run.dir=FOLDER on a disk with more room",
    )


def checkpoint_bytes(state: State) -> int:
    """How large a checkpoint of this state will be, with what the optimizer will have after its first step.

    (Not with an average that begins later: what is refused here would have failed for certain.)
    """
    tensors = [value for name, value in state.tensors().items() if not name.startswith("optimizer.")]
    kept = {value.data_ptr(): value.numel() * value.element_size() for value in tensors}
    return _HEADER + sum(kept.values()) + _optimizer_bytes(state.optimizer)


def _optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """What it keeps of all its parameters: asked of a copy of it that steps on tiny ones, since it makes that in its first step."""
    copy = object.__new__(type(optimizer))
    copy.__dict__ = {**optimizer.__dict__, "state": defaultdict(dict), "param_groups": []}
    sizes: list[tuple[torch.Tensor, int]] = []
    for group in optimizer.param_groups:
        tiny = {p.ndim: torch.zeros((2,) * p.ndim, requires_grad=True) for p in group["params"]}
        for dims, parameter in tiny.items():
            parameter.grad = torch.zeros_like(parameter)
            sizes.append((parameter, sum(p.numel() * p.element_size() for p in group["params"] if p.ndim == dims)))
        copy.param_groups.append({**group, "params": list(tiny.values())})
    try:
        copy.step()
    except Exception:  # the user's own may want what is not there yet: then the check knows less, and the disk has the last word
        return 0
    return sum(size * sum(value.shape == parameter.shape for value in _tensors(copy, parameter)) for parameter, size in sizes)


def _tensors(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> list[torch.Tensor]:
    return [value for value in optimizer.state[parameter].values() if isinstance(value, torch.Tensor)]


def _status(run: Run, name: str) -> os.stat_result | None:
    try:
        return (run.folder / f"{name}.safetensors").stat()
    except OSError:
        return None
