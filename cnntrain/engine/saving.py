"""When and what to save: ``last``, ``previous`` and ``best`` in the run's folder."""

import platform
import time
from pathlib import Path
from typing import Any

import torch

from cnntrain.engine import checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.run import Run
from cnntrain.engine.state import State
from cnntrain.errors import CheckpointError
from cnntrain.units import Duration, NonNegative

_TRIES = 3


class Saving:
    """Saves after each evaluation that is due, and in between when ``minutes`` have passed or ``every`` asks for it.

    ``facts`` is what the file needs to stand alone (see ``task/train.py``).
    """

    def __init__(self, *, run: Run, clock: Clock, facts: dict[str, Any], every: Duration = 1, minutes: NonNegative = 5.0) -> None:
        self.run, self.clock, self.facts = run, clock, facts
        self.every, self.seconds = clock.steps(every), minutes * 60
        self.failures = 0
        self.last_step = run.checkpoint.meta["step"] if run.checkpoint else 0
        self._tried_step, self._tried_time = self.last_step, time.monotonic()

    def due(self, state: State) -> bool:
        """Whether to save now, within an epoch (at its end, the evaluation comes first)."""
        if state.step == self.clock.stop(state.epoch):
            return False
        return state.step - self._tried_step >= self.every or 0 < self.seconds <= time.monotonic() - self._tried_time

    def due_after_evaluation(self, state: State, *, best: bool) -> bool:
        """Whether to save now, after an epoch's end."""
        return best or self._ends(state) or state.step - self._tried_step >= self.every or self.due(state)

    def _ends(self, state: State) -> bool:
        return state.epoch >= self.clock.num_epochs or state.judge.now()

    def save(self, state: State, *, best: bool = False) -> str | None:
        """Save the state as ``last`` (and as ``best``); returns a warning if the storage failed.

        Raises:
            CheckpointError: it failed three times in a row, or at the run's end.
            DivergedError: the loss is not finite: such a state is not kept.
        """
        state.check_finite()
        last, top = self.run.folder / "last.safetensors", self.run.folder / "best.safetensors"
        self._tried_step, self._tried_time = state.step, time.monotonic()
        meta = {
            **self.facts,
            **state.counters(),
            "rows": self.run.rows,
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        }
        try:
            self.run.sync()
            # best first: killed in between, the resumed run does this epoch again and ends up with the same two files
            checkpoint.write(last, state.tensors(), meta, keep=last.with_name("previous.safetensors"), also=top if best else None)
        except OSError as error:
            self.failures += 1
            if best and _step_of(top) != state.step:
                state.judge.forget()  # these weights are nowhere: the next best is to be judged against what is on disk
            self.last_step = _step_of(last) or self.last_step  # it may have got its name before the failure
            newest = f"{last} is that of step {self.last_step}" if self.last_step else "there is none yet"
            if self.failures >= _TRIES or self._ends(state):
                often = f"{self.failures} times in a row" if self.failures > 1 else "at the run's end"
                raise CheckpointError(
                    f"The checkpoint could not be written {often}: {error.strerror}; {newest}",
                    where=str(last),
                    fix=f"make room there, then {self.run.resume_command}",
                ) from error
            return f"checkpoint at step {state.step} not written safely ({error.strerror}), {newest}; the next save tries again"
        self.failures = 0
        self.last_step = state.step
        return None


def _step_of(path: Path) -> int | None:
    """The step of a checkpoint, None if there is no whole one."""
    try:
        return checkpoint.read(path).meta["step"]
    except (CheckpointError, OSError):
        return None
