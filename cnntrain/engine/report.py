"""What a run says while it trains: rows in ``metrics.jsonl``, TensorBoard, and the terminal.

Wall-clock figures stand under ``speed/``; all others are the same in a run that was killed and resumed.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from torch import Tensor

from cnntrain.engine.board import Board, NoBoard
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import Evaluation
from cnntrain.engine.profile import TRACE, NoProfile, Profile
from cnntrain.engine.progress import Progress, as_text
from cnntrain.engine.run import Run
from cnntrain.engine.state import State
from cnntrain.units import Duration, Size

Batch = tuple[Tensor, Tensor, Tensor]
_SLOW_START = 1.0, 10.0  # seconds, and times a later step, from which the first step is told on the terminal


class Report:
    """Says how training goes, every ``every`` steps and after each evaluation.

    ``images`` of the first augmented batch are shown in TensorBoard; ``histograms`` adds those of weights after each evaluation;
    ``profile`` tells where the time goes (see ``engine/profile.py``).

    The first step of each batch size (an epoch's last batch is a smaller one) compiles, chooses kernels and fills caches: it counts in
    no speed. The very first one is told by itself.
    """

    def __init__(
        self,
        *,
        run: Run,
        clock: Clock,
        schedule: Callable[[int], dict[str, float]],
        every: Duration = "10it",
        tensorboard: bool = True,
        images: Size = 16,
        histograms: bool = False,
        progress: Literal["auto", "bar", "lines", "off"] = "auto",
        profile: bool = False,
    ) -> None:
        self.run, self.clock, self.schedule = run, clock, schedule
        self.every, self.images, self.histograms = clock.steps(every), images, histograms
        self.progress = Progress(clock, progress)
        start = run.checkpoint.meta["step"] if run.checkpoint else 0
        self.board = Board(run.folder, purge_step=start + 1, warn=self.warn) if tensorboard else NoBoard()
        self.profile = Profile(run.folder) if profile else NoProfile()
        self._sizes: set[int] = set()  # of the batches so far
        self._first, self._first_step = _Stopwatch(), 0.0
        self._told = self._unlogged = False
        self._epoch = _Stopwatch()
        self._window = _Stopwatch()
        self._run = _Stopwatch()
        self._best: Evaluation | None = None

    def say(self, text: str) -> None:
        """A line for the user, also in the run's log."""
        self.progress.line(text)
        self._log(text)

    def warn(self, text: str | None) -> None:
        """A warning, if there is one."""
        if text:
            self.say(f"warning: {text}")

    def waiting(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, noting how long each was waited for and how long the step took."""
        self.progress.start()
        asked = time.perf_counter()
        for batch in batches:
            got = time.perf_counter()
            yield batch
            done = time.perf_counter()
            size = len(batch[0])
            if not self._sizes:
                self._first_step = done - asked
                self.run.facts["seconds_to_first_step"] = round(self.run.seconds(), 3)
            counted = (self._window, self._epoch, self._run) if size in self._sizes else (self._first,)
            self._sizes.add(size)
            for watch in counted:
                watch.add(waited=got - asked, worked=done - got, images=size)
            asked = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether to report after ``step`` steps."""
        return step % self.every == 0

    def first_batch(self, images: Tensor, state: State) -> None:
        """Show the first augmented batch: uint8 or float in [0,1], (B,C,H,W)."""
        if state.step == 0 and self.images:
            self.board.pictures("train/augmented", images[: self.images], 0)

    def training(self, state: State, values: dict[str, float], norm: Tensor) -> None:
        """The figures since the last report, this step's hyper-parameters, gradient norm and speed.

        TensorBoard gets what the schedule gave every step since the last report: it is a function that can be asked again.
        """
        for step in range(max(state.step - self.every, 0), state.step - 1):
            self.board.scalars({f"optimizer/{name}": value for name, value in self.schedule(step).items()}, step + 1)
        row = {f"train/{name}": value for name, value in state.take("window").items()}
        row |= {f"optimizer/{name}": value for name, value in values.items()}
        row["optimizer/grad_norm"] = float(norm)
        row |= self._window.speed()
        self._window = _Stopwatch()
        self._write(state.step, row)
        self.progress.step(state.step, row)
        self._tell_first_step()

    def evaluation(self, state: State, evaluation: Evaluation | None, *, best: bool) -> None:
        """An epoch's end: its training loss, and the evaluation if there was one.

        Raises:
            DivergedError: the epoch's loss is not finite.
        """
        state.check_finite()
        row = {f"epoch/{name}": value for name, value in state.take("epoch").items()}
        row |= {f"val/{name}": value for name, value in (evaluation.metrics if evaluation else {}).items()}
        speed = self._epoch.speed()
        self._epoch = _Stopwatch()
        self._write(state.step, row | speed)
        if evaluation is not None and best:
            self._best = evaluation
        if self.histograms:
            self.board.histograms(state.average.model, state.step)
        self._tell_first_step()
        line = self.progress.epoch(state.epoch, row | speed, best=best)
        self._log(f"{line}  {waiting_for_data(speed)}" if speed else line)
        self.run.flush()
        self.board.flush()

    def test(self, state: State, evaluation: Evaluation, classes: list[str]) -> None:
        """The one look at the test set."""
        self._write(state.step, {f"test/{name}": value for name, value in evaluation.metrics.items()})
        evaluation.show(self.board, "test", classes, state.step)

    def end(self, state: State, settings: dict[str, Any], classes: list[str]) -> float:
        """Show the best evaluation and the hyper-parameters in TensorBoard; returns the run's training images/s."""
        self.progress.stop()
        if self._best is not None:
            self._best.show(self.board, "val", classes, state.step)
        self.board.settings(settings, list(state.means))
        return self._speed().get("speed/images_per_second", 0.0)

    def pace(self) -> str:
        """How fast the run trained, in words, and the share of that time in which it waited for data."""
        speed = self._speed()
        return f"{speed['speed/images_per_second']:,.0f} images/s while training · {waiting_for_data(speed)}" if speed else "no step"

    def close(self) -> None:
        """Take the display away, tell the profile and close the files, however the run ends."""
        self.progress.stop()
        table = self.profile.table()
        if table is not None:
            self.progress.table(table)
            self._log(as_text(table))
            if (self.run.folder / TRACE).exists():
                self.say(f"trace {self.run.folder / TRACE}: open it in ui.perfetto.dev or chrome://tracing")
        self.board.close()

    def _speed(self) -> dict[str, float]:
        return self._run.speed() or self._first.speed()

    def _tell_first_step(self) -> None:
        """Once there are later steps to compare with: when the first one was done, and what it took if that was much more."""
        if self._told or not self._run.images:
            return
        self._told = True
        first, later = self._first_step, self._run.seconds * self.clock.batch_size / self._run.images
        start = self.run.facts["seconds_to_first_step"]
        words = f"first step done after {start:.1f} s: it took {first:.2f} s (compilation, choice of kernels), a later one {later:.3f} s"
        least, times = _SLOW_START
        (self.say if first > max(least, times * later) else self._log)(words)

    def _log(self, text: str) -> None:
        problem = self.run.log(text)
        if problem and not self._unlogged:
            self._unlogged = True
            self.progress.line(f"warning: {self.run.folder / 'train.log'} cannot be written ({problem}): the run goes on without")

    def _write(self, step: int, row: dict[str, float]) -> None:
        self.run.row({"step": step, **row})
        self.board.scalars(row, step)


class _Stopwatch:
    """Seconds waited for data, seconds worked, and the images of those steps."""

    def __init__(self) -> None:
        self.waited = self.worked = 0.0
        self.images = 0

    def add(self, *, waited: float, worked: float, images: int) -> None:
        """Add one step."""
        self.waited += waited
        self.worked += worked
        self.images += images

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.waited + self.worked

    def speed(self) -> dict[str, float]:
        """Images per second and the share of time waiting for data; nothing where there was no step."""
        if not self.images or self.seconds <= 0:
            return {}
        return {"speed/images_per_second": self.images / self.seconds, "speed/waiting_for_data": self.waited / self.seconds}


def waiting_for_data(speed: dict[str, float]) -> str:
    """The share of time waiting for data, in words."""
    return f"{100 * speed['speed/waiting_for_data']:.0f} % waiting for data"
