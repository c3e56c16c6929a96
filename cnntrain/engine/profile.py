"""Where the time of training goes: a table by acts, and a trace of some steps.

The loop is not changed for it. Its acts are watched: each is handed to the loop inside a :class:`_Watched`, which starts the act's
stopwatch, calls, and stops it. Only one stopwatch runs at a time (the innermost act's), so the rows add up to the time of training.

Profiling slows a run: on CUDA the host waits for the device at both ends of each act, or the time would be that of handing work over, and
the traced steps are slower still. The numbers that the run comes to are the same.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.table import Table

TRACE = "profile.pt.trace.json.gz"  # the ending by which TensorBoard's plugin finds it; Perfetto and chrome://tracing open it, too
TRACED = 10  # steps in the trace: some MB, even of a deep network
UNTRACED = 10  # steps before them: the first ones compile, choose kernels and fill caches
FIRST = "data: next batch, augmented ahead"  # what it gives is an iterator: each of its items is waited for
LAST = "optimizer"  # with its end a step is counted
OTHER, OWN = "other (the loop, sums, average)", "the profile itself"

# What is called on which argument of engine/loop.py's fit, and the row that it counts as ("": calling the argument itself).
ACTS = {
    "train": {"epoch": FIRST},
    "augmentation": {"": "data: augmentation, the rest"},
    "normalise": {"": "data: normalisation"},
    "objective": {"": "forward"},
    "precision": {"backward": "backward", "step": LAST},
    "report": {"first_batch": "logging", "training": "logging", "evaluation": "logging"},
    "validate": {"": "evaluation"},
    "saving": {"save": "checkpoint"},
}


class NoProfile:
    """No profile: the acts are handed on as they are, and nothing is paid."""

    def watching(self, device: torch.device, steps: int) -> AbstractContextManager[Callable[..., dict[str, Any]]]:
        """While training on ``device`` for at most so many steps: a function of the loop's acts, by name, that gives those to call."""
        return nullcontext(dict)

    def table(self) -> Table | None:
        """The table of acts, if there was training."""
        return None


class Profile(NoProfile):
    """Watches the acts of the loop; ``folder`` gets the trace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = dict.fromkeys([act for acts in ACTS.values() for act in acts.values()] + [OTHER, OWN], 0.0)
        self.total, self.steps = 0.0, 0
        self._running = [OTHER]
        self._device = torch.device("cpu")
        self._since = 0.0
        self._tracer: Any = None

    @contextmanager
    def watching(self, device: torch.device, steps: int) -> Iterator[Callable[..., dict[str, Any]]]:
        """While training on ``device`` for at most so many steps: a function of the loop's acts, by name, that gives those to call."""
        self._device = device
        started = self._since = self._now()
        with self.act(OWN):
            self._tracer = self._new_tracer(steps)
            self._tracer.start()
        try:
            yield self._watch
        finally:
            with self.act(OWN):
                self._tracer.stop()
            self._switch()
            self.total = self._since - started

    def table(self) -> Table | None:
        """Seconds, share and milliseconds a step of each act; the rows add up to the last one, the measured time of training."""
        if not self.total:
            return None
        table = Table(title="where the time went", title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for name in ("seconds", "share", "ms a step"):
            table.add_column(name, justify="right")
        for act, seconds in [*self.seconds.items(), ("training", self.total)]:
            table.add_row(act, f"{seconds:.2f}", f"{100 * seconds / self.total:.1f} %", f"{1000 * seconds / max(self.steps, 1):.2f}")
            if act == OWN:
                table.add_section()
        return table

    @contextmanager
    def act(self, name: str) -> Iterator[None]:
        """Time goes to ``name``, in the table and in the trace, until the block ends or another act begins within it."""
        with torch.profiler.record_function(name):
            self._switch()
            self._running.append(name)
            try:
                yield
            finally:
                self._switch()
                self._running.pop()

    def each(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """The same items; the time that each is waited for goes to ``name``."""
        while True:
            with self.act(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def step(self) -> None:
        """One more step is done."""
        self.steps += 1
        with self.act(OWN):
            self._tracer.step()

    def _new_tracer(self, steps: int) -> torch.profiler.profile:
        """A profiler of :data:`TRACED` steps (of a short run its second half), which writes the trace after the last of them."""

        def write(tracer: torch.profiler.profile) -> None:
            with contextlib.suppress(OSError):  # a full disk is told by the checkpoint
                tracer.export_chrome_trace(str(self.folder / TRACE))

        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler's own remarks appear among ours
        kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * (self._device.type == "cuda")
        before = max(1, min(UNTRACED, steps // 2))
        schedule = torch.profiler.schedule(wait=before - 1, warmup=1, active=TRACED, repeat=1)
        return torch.profiler.profile(activities=kinds, schedule=schedule, on_trace_ready=write, acc_events=True)  # else torch 2.11 warns

    def _watch(self, **acts: Any) -> dict[str, Any]:
        return {name: _Watched(act, self, ACTS[name]) if name in ACTS else act for name, act in acts.items()}

    def _switch(self) -> None:
        """What has passed since the last switch goes to the innermost act."""
        now = self._now()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class _Watched:
    """Stands for one argument of the loop: everything is the argument's own, but calls of its acts are timed."""

    def __init__(self, target: Any, profile: Profile, acts: dict[str, str]) -> None:
        self._target, self._profile = target, profile
        for called, act in acts.items():
            if called:
                setattr(self, called, self._timed(getattr(target, called), act))
        self._call = self._timed(target, acts[""]) if "" in acts else target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def _timed(self, call: Callable[..., Any], act: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._profile.act(act):
                result = call(*args, **kwargs)
            if act == LAST:
                self._profile.step()
            return self._profile.each(act, result) if act == FIRST else result

        return timed
