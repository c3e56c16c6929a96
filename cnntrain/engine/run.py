"""A run's folder: its config, log, metrics and status, and the lock that keeps a second process out."""

import contextlib
import fcntl
import json
import os
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from cnntrain.config.trust import FOREIGN
from cnntrain.engine.checkpoint import Checkpoint, read_newest
from cnntrain.engine.storage import finite, sweep_leftovers, write_text
from cnntrain.errors import CheckpointError, Interrupted

_KNOWN = ("cnntrain.", *FOREIGN)  # what a stored config may name without being trusted


class Run:
    """One run, as a context: inside it the folder is locked, and however it ends, ``status.json`` says so.

    ``config`` is the plain composed config; ``checkpoint`` is where a resumed run goes on (None: from the start).

    Raises:
        CheckpointError: on entering, if another process has the folder or it cannot be written.
    """

    def __init__(
        self, folder: Path, *, config: dict[str, Any], command: list[str] | None = None, checkpoint: Checkpoint | None = None
    ) -> None:
        self.folder, self.config, self.command = Path(folder), config, command or []
        self.checkpoint = checkpoint
        self.facts: dict[str, Any] = {}  # for status.json, however the run ends
        self.result: dict[str, Any] = {}
        self.rows = 0
        self._started = time.monotonic()

    @classmethod
    def reopen(cls, folder: Path, *, config: dict[str, Any], command: list[str] | None = None) -> tuple["Run", list[str]]:
        """A run that goes on from its newest whole checkpoint (or from its start), and remarks for the user.

        Raises:
            CheckpointError: no run is there, or none of its checkpoints is whole.
        """
        checkpoint, remarks = read_newest(folder)
        if checkpoint is None:
            remarks.append("it was stopped before its first checkpoint: starting again from its config.yaml")
        return cls(folder, config=config, command=command, checkpoint=checkpoint), remarks

    def __enter__(self) -> "Run":
        """Lock the folder, remove what a killed process left, and say that the run is on."""
        try:
            self._lock = open(self.folder / "run.lock", "a+")  # noqa: SIM115 (held open as long as the run lasts)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.seek(0)
                owner = self._lock.read().strip() or "unknown"
                self._lock.close()
                raise CheckpointError(
                    f"{self.folder} is in use by process {owner}", where="run", fix="wait for that process, or end it"
                ) from None
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()
            os.register_at_fork(after_in_child=self._lock.close)  # a data worker that outlives us must not hold the lock
            sweep_leftovers(self.folder)
            self.write_config()
            self._cut(self.checkpoint.meta["rows"] if self.checkpoint else 0)
            self._metrics = open(self.folder / "metrics.jsonl", "a")  # noqa: SIM115
            self.log("command: " + " ".join(self.command))
            self.status("running")
        except OSError as error:
            raise CheckpointError(
                f"Run folder {self.folder} cannot be written: {error.strerror}",
                where="hydra.run.dir",
                fix="hydra.run.dir=FOLDER that is writable",
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Say how the run ended."""
        try:
            if error is not None:
                self.log("".join(traceback.format_exception(error)))
            if error is None:
                self.status("done", **self.result)
            elif isinstance(error, Interrupted | KeyboardInterrupt):
                self.status("interrupted", code=getattr(error, "exit_code", 130), error=str(error))
            else:
                self.status("failed", code=getattr(error, "exit_code", 1), error=str(error) or repr(error))
            self._metrics.close()
        except OSError:
            if error is None:  # else the disk is what ended the run, and what is told is the error itself
                raise
        finally:
            self._lock.close()

    def write_config(self) -> None:
        """Write ``config.yaml``: the config as it is now."""
        write_text(self.folder / "config.yaml", yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True, width=120))

    def status(self, state: str, **more: Any) -> None:
        """Write ``status.json``: running, done, failed or interrupted, and what there is to say."""
        facts = {"state": state, "pid": os.getpid(), "seconds": round(self.seconds(), 3), **self.facts, **more}
        write_text(self.folder / "status.json", json.dumps(finite(facts), indent=1, allow_nan=False) + "\n")

    @property
    def trust(self) -> str:
        """What a command that reads this run's config must add, if the run is of the user's own parts: " trust=[mynets]"."""
        modules = sorted({target.rpartition(".")[0] for target in _targets(self.config) if not target.startswith(_KNOWN)})
        return f" trust=[{','.join(modules)}]" if modules else ""

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return f"cnntrain resume run={self.folder}{self.trust}"

    def seconds(self) -> float:
        """Since this process took the run up."""
        return time.monotonic() - self._started

    def log(self, text: str) -> None:
        """Append to ``train.log``, with the time. A full disk is told by the checkpoint, not by the log."""
        with contextlib.suppress(OSError), open(self.folder / "train.log", "a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n")

    def row(self, values: dict[str, float | int]) -> None:
        """Append a row to ``metrics.jsonl``."""
        self._metrics.write(json.dumps(finite(values), allow_nan=False) + "\n")
        self.rows += 1

    def flush(self) -> None:
        """Make the rows durable, so that a checkpoint never counts rows that are not there."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    def _cut(self, rows: int) -> None:
        """Cut ``metrics.jsonl`` back to its first ``rows`` rows: the resumed run writes the others again."""
        path = self.folder / "metrics.jsonl"
        kept = path.read_text().splitlines(keepends=True)[:rows] if path.exists() else []
        write_text(path, "".join(kept))
        self.rows = len(kept)


def _targets(tree: Any) -> list[str]:
    """Every ``_target_`` of a config."""
    if isinstance(tree, dict):
        own = [tree["_target_"]] if "_target_" in tree else []
        return own + [target for item in tree.values() for target in _targets(item)]
    return [target for item in tree for target in _targets(item)] if isinstance(tree, list | tuple) else []
