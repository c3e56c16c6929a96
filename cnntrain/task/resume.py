"""``cnntrain resume run=RUN``: go on to the result that the run would have had, or train it longer."""

import json
from pathlib import Path
from typing import Any

import torch

from cnntrain.config.recipe import check
from cnntrain.engine.clock import Clock
from cnntrain.engine.lock import Lock
from cnntrain.engine.run import Run
from cnntrain.engine.terminal import console
from cnntrain.errors import ConfigError
from cnntrain.units import parse_duration

Changes = dict[str, tuple[Any, Any]]  # key: (old, new)

# What the steps that are done were made of: another value would not continue this run but mix two.
FIXED = ("model", "data", "batch_size", "seed", "objective", "tta", "weights", "average", "optimizer.momentum", "optimizer.centered")
MOVABLE = ("data.root", "data.workers", "data.residency", "data.cache", "data.timeout")


def resume(
    *,
    run: str,
    config: dict[str, Any],
    changes: Changes | None = None,
    command: list[str] | None = None,
    trust: list[str] | None = None,
    lock: Lock | None = None,
) -> dict[str, Any]:
    """Continue the run in the folder ``run`` with ``config``, its own config with the ``changes`` laid over it.

    ``lock`` is the folder's, for who took it before reading the config; it is let go at the end.

    Both configs come from files, so they may name only cnntrain's own parts, torch's models, and the modules in ``trust``.

    Without changes the end is bit-identical to that of a run that was never stopped (on the CPU; see README for a GPU).

    Raises:
        CheckpointError: no run is there, another process has it, or none of its checkpoints is whole.
        ConfigError: a change would not continue this run.
    """
    refuse(changes or {})
    with lock or Lock(Path(run)) as held:
        return _resume(held, config, changes or {}, command, trust or [])


def _resume(lock: Lock, config: dict[str, Any], changes: Changes, command: list[str] | None, trust: list[str]) -> dict[str, Any]:
    say, folder = console().print, lock.folder
    if finished(folder) and not changes:
        again = Run(folder, config=config, command=command, lock=lock).resume_command
        longer = f" To train twice as long: {again} epochs={_twice(config['epochs'])}" if "epochs" in config else ""
        say(f"{folder} is already done.{longer}", markup=False, soft_wrap=True)
        return {**json.loads((folder / "status.json").read_text()), "folder": str(folder)}
    reopened, remarks = Run.reopen(lock, config=config, command=command)
    checkpoint = reopened.checkpoint
    if checkpoint is not None:
        if config["machine"]["threads"] is None:
            config["machine"]["threads"] = checkpoint.meta["threads"]  # sums of floats depend on how they are shared out
        remarks += changes_of_plan(checkpoint.meta, config, trust) + changes_of_machine(checkpoint.meta, config)
    for remark in remarks:
        say(f"note: {remark}", markup=False, soft_wrap=True)
    return check(config, trust=trust)(run=reopened)


def refuse(changes: Changes) -> None:
    """Raise ConfigError for a change that would not continue this run."""
    for key, (old, new) in changes.items():
        if key not in MOVABLE and any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            raise ConfigError(
                f"{key} is {old!r} in this run and cannot become {new!r}: the steps that are done were made with it",
                where=key,
                fix=f"start a new run with {key}={new}",
            )
    if changes.get("optimizer.lr", (0, 0))[1] == "auto":
        raise ConfigError("a range test begins with fresh weights, which this run no longer has", where="optimizer.lr", fix="give a number")


def _twice(epochs: float | str) -> str:
    """Twice a duration, as the command line takes it."""
    number, unit = parse_duration(epochs)
    return f"{2 * number:.12g}{'' if unit == 'ep' else unit}"


def finished(folder: Path) -> bool:
    """Whether the run's ``status.json`` says that it is done."""
    try:
        return json.loads((folder / "status.json").read_text())["state"] == "done"
    except (OSError, ValueError, LookupError, TypeError):
        return False  # no word of it that can be read: the checkpoint tells how far it is


def changes_of_plan(meta: dict[str, Any], config: dict[str, Any], trust: list[str]) -> list[str]:
    """What a resume changes in the run's length and learning rates, as lines for the user.

    Raises:
        ConfigError: the run would be shorter than what is done.
    """
    before, after = meta["config"], config
    plans = []
    for plain in (before, after):
        clock = Clock(num_samples=meta["num_train"], batch_size=plain["batch_size"], epochs=plain["epochs"])
        plans.append((clock, check(plain["schedule"], place="schedule", trust=trust)(clock=clock, lr=plain["optimizer"]["lr"])))
    (old, was), (new, now) = plans
    if new.total < min(meta["step"], old.total):
        raise ConfigError(
            f"epochs={after['epochs']} is {new.total:,} steps, and {meta['step']:,} are done",
            where="epochs",
            fix=f"epochs={meta['step']}it to end here, or more",
        )
    lines = []
    if old.total != new.total:
        lines.append(f"the run is now {new.total:,} steps long, it was {old.total:,}; {meta['step']:,} are done")
    step = min(meta["step"], new.total - 1)
    if any(was(place) != now(place) for place in {0, step // 2, step, old.total - 1, old.total // 2}):
        lines.append(
            f"the schedule changes: at step {step:,} the learning rate is now {now(step)['lr']:.4g}, it was to be {was(step)['lr']:.4g}; "
            f"it ends at {now(new.total - 1)['lr']:.4g}"
        )
    return lines


def changes_of_machine(meta: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What makes the last digits come out otherwise than they would have, as lines for the user."""
    now = {"torch": str(torch.__version__), "threads": config["machine"]["threads"]}
    before = {"torch": meta.get("versions", {}).get("torch", now["torch"]), "threads": meta.get("threads", now["threads"])}
    return [
        f"the last digits may differ from those of a run that was never stopped: {name} was {before[name]}, now it is {now[name]}"
        for name in now
        if before[name] != now[name]
    ]
