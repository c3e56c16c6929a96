"""The table at a sweep's end: all jobs by what they reached, those that differ in nothing but the seed taken together."""

import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra_plugins.cnntrain_launcher.outcome import Outcome
from hydra_plugins.cnntrain_launcher.processes import Process


class Row(NamedTuple):
    """One line of the table: what was tried, and the values of its jobs."""

    label: str
    jobs: list[int]
    values: list[float]
    error: str

    @property
    def mean(self) -> float:
        """The mean over the seeds that did not fail."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """The standard deviation over the seeds (of a sample, n - 1)."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan


def rank(outcomes: Sequence[Outcome]) -> list[Row]:
    """The rows, best first; what has failed altogether comes last."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(text for text in outcome.overrides if not text.startswith("seed=")), []).append(outcome)
    varied = _varied(list(groups))
    rows = []
    for overrides, members in groups.items():
        label = " ".join(text.lstrip("+") for text in overrides if text.partition("=")[0] in varied) or "as given"
        values = [member.value for member in members if not math.isnan(member.value)]
        errors = [f"job {member.number}: {member.error}" for member in members if member.error]
        rows.append(Row(label, [member.number for member in members], values, "; ".join(errors)))
    sign = 1 if _metric(outcomes).endswith("loss") else -1
    return sorted(rows, key=lambda row: (not row.values, sign * row.mean if row.values else 0.0))


def show(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Print the table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cnntrain.engine.terminal import console

    metric = _metric(outcomes)
    seeds = any(len(row.jobs) > 1 for row in rank(outcomes))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("tried", overflow="fold")
    table.add_column("jobs", overflow="fold")
    table.add_column(metric + (" (mean ± std)" if seeds else ""), justify="right", no_wrap=True)
    rows = rank(outcomes)
    for place, row in enumerate(rows, start=1):
        spread = f" ± {row.std:.4f}" if not math.isnan(row.std) else ""
        shown = f"{row.mean:.4f}{spread}" if row.values else "failed" if row.error else "–"
        failed = row.error.count("job ") and len(row.jobs) - len(row.values)
        shown += f" ({failed} failed)" if failed and row.values else ""
        table.add_row(str(place) if row.values else "–", Text(row.label), _numbers(row.jobs), shown)  # [crop] is no markup
    out = console()
    out.print(table)
    for row in rows:
        if row.error:
            out.print(f"{row.label}: {row.error}", markup=False, soft_wrap=True)
    if unranked := [row for row in rows if not row.values and not row.error]:
        what = "nothing is ranked" if len(unranked) == len(rows) else f"not ranked: {', '.join(row.label for row in unranked)}"
        out.print(f"{what}: {_why_unranked(outcomes)}", markup=False, soft_wrap=True)
    done = sum(not outcome.error for outcome in outcomes)
    out.print(f"{done} of {len(outcomes)} jobs done · {folder}", markup=False, soft_wrap=True)


def show_running(running: Mapping[int, tuple[int, list[str], Path, Process]]) -> None:
    """In a terminal: one line that says what runs and how far it is, written over again and again.

    Not by rich: its live displays keep a thread, and a process with threads is not safe to fork.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return
    parts = []
    for _, _, folder, process in running.values():
        console = folder / "console.log"
        with open(console, "rb") if console.exists() else open(os.devnull, "rb") as file:
            file.seek(max(0, console.stat().st_size - 400) if console.exists() else 0)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        parts.append(f"{folder.name} {time.monotonic() - process.started:.0f} s: {lines[-1] if lines else 'starting'}")
    width = shutil.get_terminal_size().columns - 1
    print("\r\x1b[K" + " | ".join(parts)[:width], end="", flush=True)


def _metric(outcomes: Sequence[Outcome]) -> str:
    """What the monitored value is called: the metric that equals it in every job."""
    done = [outcome for outcome in outcomes if not math.isnan(outcome.value)]
    names = [name for name in (done[0].metrics if done else {}) if all(outcome.metrics.get(name) == outcome.value for outcome in done)]
    return names[0] if names else "value"


def _why_unranked(outcomes: Sequence[Outcome]) -> str:
    """Why a job that is done may have no value."""
    if all(outcome.config.get("_target_") == "cnntrain.task.train.train" for outcome in outcomes):
        return "nothing was held out for validation, and the test set is never chosen by (data.val=0.1 holds out a tenth)"
    return "it gave no figure to rank by"


def _varied(groups: Sequence[tuple[str, ...]]) -> set[str]:
    """The keys that differ between groups."""
    common = set(groups[0]).intersection(*groups[1:]) if len(groups) > 1 else set()
    return {text.partition("=")[0] for group in groups for text in group if text not in common} if len(groups) > 1 else set()


def _numbers(jobs: Sequence[int]) -> str:
    """``0-2`` for 0, 1, 2."""
    if len(jobs) > 2 and list(jobs) == list(range(jobs[0], jobs[-1] + 1)):
        return f"{jobs[0]}-{jobs[-1]}"
    return ", ".join(map(str, jobs))
