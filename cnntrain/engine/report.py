"""What a run says while it trains: rows in ``metrics.jsonl``, TensorBoard, and the terminal.

Wall-clock figures stand under ``speed/``; all others are the same in a run that was killed and resumed.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from torch import Tensor

from cnntrain.engine.board import Board, NoBoard
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import Evaluation
from cnntrain.engine.progress import Progress
from cnntrain.engine.run import Run
from cnntrain.engine.state import State
from cnntrain.units import Duration, Size

T = TypeVar("T")


class Report:
    """Says how training goes, every ``every`` steps and after each evaluation.

    ``images`` of the first augmented batch are shown in TensorBoard; ``histograms`` adds those of weights after each evaluation.
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
    ) -> None:
        self.run, self.clock, self.schedule = run, clock, schedule
        self.every, self.images, self.histograms = clock.steps(every), images, histograms
        self.progress = Progress(clock, progress)
        start = run.checkpoint.meta["step"] if run.checkpoint else 0
        self.board = Board(run.folder, purge_step=start + 1) if tensorboard else NoBoard()
        self._epoch = _Stopwatch()
        self._window = _Stopwatch()
        self._run = _Stopwatch()
        self._best: Evaluation | None = None

    def say(self, text: str) -> None:
        """A line for the user, also in the run's log."""
        self.progress.line(text)
        self.run.log(text)

    def warn(self, text: str | None) -> None:
        """A warning, if there is one."""
        if text:
            self.say(f"warning: {text}")

    def waiting(self, batches: Iterator[T]) -> Iterator[T]:
        """The same batches, noting how long each was waited for and how long the step took."""
        self.progress.start()
        asked = time.perf_counter()
        for batch in batches:
            got = time.perf_counter()
            yield batch
            done = time.perf_counter()
            for watch in (self._window, self._epoch, self._run):
                watch.add(waited=got - asked, worked=done - got, steps=1)
            asked = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether to report after ``step`` steps."""
        return step % self.every == 0

    def first_batch(self, images: Tensor, state: State) -> None:
        """Show the first augmented batch: uint8 or float in [0,1], (B,C,H,W)."""
        if state.step == 0 and self.images:
            self.board.pictures("train/augmented", images[: self.images], 0)

    def training(self, state: State, values: dict[str, float], norm: Tensor) -> None:
        """Loss and accuracy since the last report, this step's hyper-parameters, gradient norm and speed.

        TensorBoard gets what the schedule gave every step since the last report: it is a function that can be asked again.
        """
        for step in range(max(state.step - self.every, 0), state.step - 1):
            self.board.scalars({f"optimizer/{name}": value for name, value in self.schedule(step).items()}, step + 1)
        row = {f"train/{name}": value for name, value in state.take("window").items()}
        row |= {f"optimizer/{name}": value for name, value in values.items()}
        row["optimizer/grad_norm"] = float(norm)
        row |= self._window.speed(self.clock.batch_size)
        self._window = _Stopwatch()
        self._write(state.step, row)
        self.progress.step(state.step, row)

    def evaluation(self, state: State, evaluation: Evaluation | None, *, best: bool) -> None:
        """An epoch's end: its training loss, and the evaluation if there was one.

        Raises:
            DivergedError: the epoch's loss is not finite.
        """
        state.check_finite()
        row = {f"epoch/{name}": value for name, value in state.take("epoch").items()}
        row |= {f"val/{name}": value for name, value in (evaluation.metrics if evaluation else {}).items()}
        speed = self._epoch.speed(self.clock.batch_size)
        self._epoch = _Stopwatch()
        self._write(state.step, row | speed)
        if evaluation is not None and best:
            self._best = evaluation
        if self.histograms:
            self.board.histograms(state.average.model, state.step)
        line = self.progress.epoch(state.epoch, state.step, row | speed, best=best)
        self.run.log(line)
        self.run.flush()
        self.board.flush()

    def test(self, state: State, evaluation: Evaluation, classes: list[str]) -> None:
        """The one look at the test set."""
        self._write(state.step, {f"test/{name}": value for name, value in evaluation.metrics.items()})
        self.board.confusion("test/confusion", evaluation.confusion, classes, state.step)

    def end(self, state: State, settings: dict[str, Any], classes: list[str]) -> float:
        """Give TensorBoard the hyper-parameters and the best evaluation's confusion; returns the run's training images/s."""
        self.progress.stop()
        if self._best is not None:
            self.board.confusion("val/confusion", self._best.confusion, classes, state.step)
        self.board.settings(settings)
        return self._run.speed(self.clock.batch_size).get("speed/images_per_second", 0.0)

    def close(self) -> None:
        """Take the display away and close the files, however the run ends."""
        self.progress.stop()
        self.board.close()

    def _write(self, step: int, row: dict[str, float]) -> None:
        self.run.row({"step": step, **row})
        self.board.scalars(row, step)


class _Stopwatch:
    """Time waited for data, time worked, and steps done."""

    def __init__(self) -> None:
        self.waited = self.worked = 0.0
        self.steps = 0

    def add(self, *, waited: float, worked: float, steps: int) -> None:
        """Add one step."""
        self.waited += waited
        self.worked += worked
        self.steps += steps

    def speed(self, batch_size: int) -> dict[str, float]:
        """Images per second and the share of time waiting for data."""
        total = self.waited + self.worked
        if not self.steps or total <= 0:
            return {}
        return {"speed/images_per_second": self.steps * batch_size / total, "speed/waiting_for_data": self.waited / total}
