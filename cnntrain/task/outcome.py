"""What a training run says before its first step and after its last."""

import copy
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from torch import nn

from cnntrain.engine import checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import Evaluation
from cnntrain.engine.machine import Machine
from cnntrain.engine.progress import UNITS, figures
from cnntrain.engine.report import Report
from cnntrain.engine.run import Run
from cnntrain.engine.state import State, judged_prefix, load_weights
from cnntrain.errors import CheckpointError


def introduce(report: Report, run: Run, dataset, model: nn.Module, machine: Machine, clock: Clock, schedule) -> None:
    """Say what is about to be trained, on what, with what."""
    held = f"{len(dataset.val):,} val" if dataset.val else "none held out"
    size = f"{dataset.image_size}×{dataset.image_size}×{dataset.in_channels}"
    count = sum(p.numel() for p in model.parameters())
    chosen = "".join(f" · {key}: {value}" for key, value in getattr(model, "choices", {}).items())
    report.say(f"run      {run.folder}")
    report.say(f"data     {dataset.name}: {len(dataset.train):,} train · {held} · {size} · {len(dataset.classes)} classes")
    report.say(f"model    {type(model).__name__}: {count:,} parameters{chosen}")
    report.say(f"machine  {machine.describe()}")
    report.say(f"plan     {clock.total:,} steps of {clock.batch_size}, {clock.steps_per_epoch:,} an epoch")
    for warning in [*run.remarks, *dataset.warnings, *schedule.notes]:
        report.warn(warning)
    if run.checkpoint:
        report.say(f"resumed  from step {run.checkpoint.meta['step']:,} of {clock.total:,}")


def finish(report: Report, run: Run, state: State, dataset, judge_on: Callable[..., Evaluation]) -> dict[str, Any]:
    """Judge the best weights on the test set, this once; print the table; return the result."""
    best = run.folder / "best.safetensors"
    metrics = {f"val/{name}": value for name, value in state.metrics.items()}
    model, chosen = state.average.model, f"last weights, step {state.step:,}"
    kept = _kept(best, report) if state.judge.best is not None else None
    if kept is not None:
        model, chosen = copy.deepcopy(model), f"best weights, step {kept.meta['step']:,}"
        load_weights(model, kept.tensors, judged_prefix(kept.tensors), source=str(best))
        metrics = {f"val/{name}": value for name, value in kept.meta["metrics"].items()}
    interval = None
    told = len(dataset.warnings)
    if dataset.test is not None:
        for warning in dataset.warnings[told:]:  # the test part is read here for the first time
            report.warn(warning)
        test = judge_on(model, dataset.test.to(state.device))
        report.test(state, test, dataset.classes)
        metrics |= {f"test/{name}": value for name, value in test.metrics.items()}
        interval = test.interval
    speed = report.end(state, settings(run.config), dataset.classes)
    # Without a held-out part there is nothing to choose by; the test set is never that.
    run.result = {"value": state.judge.best, "metrics": metrics, "step": state.step, "images_per_second": round(speed, 1)}
    _show(report, run, metrics, interval, chosen)
    return {**run.result, "folder": str(run.folder)}


def _kept(best: Path, report: Report) -> checkpoint.Checkpoint | None:
    """The best checkpoint; none if it is gone or damaged, which is said: no resume could mend it, and the last weights are there."""
    try:
        return checkpoint.read(best)
    except CheckpointError as error:
        report.warn(f"{error.what}: the last weights are judged in its place")
        return None


def _show(report: Report, run: Run, metrics: dict[str, float], interval: tuple[float, float] | None, chosen: str) -> None:
    """The table at the end, the folder, and what to try next."""
    table = Table(title=chosen, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    names = [name for name in UNITS if {f"val/{name}", f"test/{name}"} & metrics.keys()]
    table.add_column("")
    for name in (*names, *(["95 % interval"] if "accuracy" in names else []), "loss"):
        table.add_column(name, justify="right")
    for part, words in (("val", "validation"), ("test", "test")):
        if f"{part}/loss" in metrics:
            bounds = f"{100 * interval[0]:.2f} – {100 * interval[1]:.2f} %" if interval and part == "test" else ""
            row = [*figures(metrics, part), *([bounds] if "accuracy" in names else []), f"{metrics[f'{part}/loss']:.4f}"]
            table.add_row(words, *(cell.strip() for cell in row))
    report.progress.table(table)
    report.say(f"time {run.seconds():.1f} s · {report.pace()}")
    report.say(f"run  {run.folder}")
    report.say("Next:")
    for line in next_commands(run, metrics, judged=run.folder / f"{'best' if 'best' in chosen else 'last'}.safetensors"):
        report.say(f"  {line}")


def next_commands(run: Run, metrics: Mapping[str, float], *, judged: Path) -> list[str]:
    """What to type next: to see the curves, to look closer at the ``judged`` checkpoint, and to try learning rates around the run's own."""
    split = next((part for part in ("test", "val") if f"{part}/loss" in metrics), "train")
    part = "" if split == "test" else f" split={split}"
    lines = [run.tensorboard_command, f"{run.program} evaluate {shlex.quote(f'checkpoint={judged}')}{part}{run.trust}"]
    words, lr = run.words(but=("optimizer.lr", "seed")), run.config.get("optimizer", {}).get("lr")
    if words is not None and lr is not None:
        rates = ",".join(f"{float(f'{factor * lr:.1g}'):g}" if factor != 1 else f"{lr:g}" for factor in (1 / 3, 1, 3))
        lines.append(f"{run.program} -m {shlex.join([*words, f'optimizer.lr={rates}', 'seed=1,2,3'])}")
    return lines


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """A config as TensorBoard's table of hyper-parameters shows it: dotted keys, a part by its name, nothing that is only about output."""
    return flatten({key: value for key, value in config.items() if key not in ("_target_", "report", "checkpoint")})


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; a node's ``_target_`` is its last word, under the node's own key."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else name
        if name == "_target_":
            flat[prefix] = value.rpartition(".")[2]
        elif isinstance(value, dict):
            flat |= flatten(value, key)
        else:
            flat[key] = value
    return flat
