"""What becomes of a run whose numbers are not finite any more: it ends (``nan: stop``), or it goes back (``nan: rollback``).

A run goes back to the last of its points: the start, each epoch's end, and within an epoch the multiples of ``checkpoint.every``. From
there the learning rate is half of what it was (``State.lr_factor``); the third time is the last. What is a point is a function of the step
alone, and not the newest checkpoint, which may be that of a signal or of so many minutes: so such a run, too, ends the same however often
it is killed. A point's checkpoint has the name ``rollback.safetensors`` beside its own, until the next one is saved.
"""

from collections.abc import Callable
from pathlib import Path

from cnntrain.engine import checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.inputs import TrainBatches
from cnntrain.engine.report import Report
from cnntrain.engine.saving import Saving
from cnntrain.engine.state import State
from cnntrain.engine.storage import link
from cnntrain.errors import DivergedError

Schedule = Callable[[int], dict[str, float]]
TIMES = 3
_SHOWN = 8  # samples of the batch in the error; the log has all


class Stop:
    """``nan: stop``. ``saving`` is what the loop saves with, ``lr`` the run's peak learning rate."""

    saving: "Saving | Points"

    def __init__(self, *, saving: Saving, clock: Clock, batches: TrainBatches, report: Report, lr: float) -> None:
        self.saving, self.clock, self.batches, self.report, self.lr = saving, clock, batches, report, lr
        self.run = saving.run

    def begin(self, state: State) -> None:
        """Before the first step of this process."""

    def back(self, state: State, error: DivergedError) -> None:
        """Put ``state`` back, to go on from; here there is no way back.

        Raises:
            DivergedError: with the samples of the batch that it began with, and the checkpoint that is left.
        """
        last = self.run.folder / "last.safetensors"
        what = f"{error.what}{self._samples(error)}; " + (
            f"{last} is that of step {self.saving.last_step}" if last.exists() else "there is no checkpoint yet"
        )
        fix = f"{self.run.resume_command} optimizer.lr={float(f'{self.lr / 10:.2g}'):g}"
        if not state.epoch:
            fix = "start again with optimizer.lr=auto, which finds one by a range test"
        raise DivergedError(what, where=error.where, fix=fix, step=error.step) from error

    def _samples(self, error: DivergedError) -> str:
        """What the samples of the step are called, all in the log, some in words for the error."""
        if error.step is None:
            return ""
        samples = self.batches.samples(error.step)
        self.run.log(f"the samples of step {error.step + 1}: {', '.join(samples)}")
        more = f", … ({len(samples)} in all, listed in train.log)" if len(samples) > _SHOWN else ""
        return f"; its samples are {', '.join(samples[:_SHOWN])}{more}"


class Rollback(Stop):
    """``nan: rollback``: as ``stop`` after so many :data:`TIMES`."""

    saving: "Points"

    def __init__(self, *, saving: Saving, clock: Clock, batches: TrainBatches, report: Report, lr: float) -> None:
        super().__init__(saving=saving, clock=clock, batches=batches, report=report, lr=lr)
        self.saving = Points(saving)

    def begin(self, state: State) -> None:
        """See to it that there is a checkpoint to go back to."""
        resumed = self.run.checkpoint
        if state.rollbacks:
            self.run.facts["rollbacks"] = state.rollbacks
        if resumed is not None and self.saving.is_point(state):
            self.report.warn(self.saving.name_point(resumed.path))  # killed before it got its second name
        elif resumed is None or not self.saving.point.exists():
            self.report.warn(self.saving.save(state) or self.saving.name_point())

    def back(self, state: State, error: DivergedError) -> None:
        """Put ``state`` back to the last point, and all that was said since.

        Raises:
            DivergedError: it was put back often enough.
            CheckpointError: the point's checkpoint is damaged.
        """
        before = state.rollbacks
        if len(before) >= TIMES:
            super().back(state, error)
        self._samples(error)
        kept = checkpoint.read(self.saving.point)
        state.restore(kept, self.clock)
        kept.tensors.clear()  # they take as much memory as the state itself
        state.optimizer.zero_grad(set_to_none=True)
        state.rollbacks = self.run.facts["rollbacks"] = [*before, state.step]
        self.report.warn(
            f"{error.what}. Back to step {state.step} (rollback {len(state.rollbacks)} of {TIMES}): from there the learning rate is the "
            f"schedule's times {state.lr_factor(state.step):g}"
        )
        self.run.rows = kept.meta["rows"]
        self.report.warn(self.saving.save(state))  # first, so that a kill in between finds rows to spare
        self.run.cut_back()
        self.report.board.cut_back(state.step)


HANDLING = {"stop": Stop, "rollback": Rollback}


def lowered(schedule: Schedule, state: State) -> Schedule:
    """The schedule with its learning rates times the state's factor, which is shown beside them where it is not 1."""

    def values(step: int) -> dict[str, float]:
        given, factor = schedule(step), state.lr_factor(step)
        return given if factor == 1 else {**given, "lr": given["lr"] * factor, "lr_factor": factor}

    return values


class Points:
    """A :class:`Saving` that also saves at every point, and names that checkpoint."""

    def __init__(self, saving: Saving) -> None:
        self._saving, self.run = saving, saving.run
        self.point = saving.run.folder / "rollback.safetensors"

    @property
    def last_step(self) -> int:
        """The step whose state is on disk."""
        return self._saving.last_step

    def is_point(self, state: State) -> bool:
        """Whether a run may go back to where it is now."""
        return state.step == self._saving.clock.stop(state.epoch - 1) or state.step % self._saving.every == 0

    def due(self, state: State) -> bool:
        """Whether to save now, within an epoch (at its end, the evaluation comes first)."""
        return self._saving.due(state) or (self.is_point(state) and state.step != self._saving.clock.stop(state.epoch))

    def due_after_evaluation(self, state: State, *, best: bool) -> bool:
        """Always: an epoch's end is a point."""
        return True

    def save(self, state: State, *, best: bool = False) -> str | None:
        """Save as :meth:`Saving.save` does."""
        warning = self._saving.save(state, best=best)
        return self.name_point() if warning is None and self.is_point(state) else warning

    def name_point(self, path: Path | None = None) -> str | None:
        """Make a checkpoint, ``last`` unless another is given, the one to go back to; returns a warning if the storage failed."""
        try:
            link(path or self.run.folder / "last.safetensors", self.point)
        except OSError as error:
            return f"{self.point} not written ({error.strerror}): a rollback would go to the one before"
        return None
