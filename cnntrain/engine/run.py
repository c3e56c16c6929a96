"""A run's folder: its config, log, metrics and status, and the lock that keeps a second process out."""

import contextlib
import json
import os
import shlex
import time
import traceback
from collections.abc import Collection
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from cnntrain.config.trust import FOREIGN
from cnntrain.engine.checkpoint import Checkpoint, read_newest
from cnntrain.engine.lock import Lock, unwritable
from cnntrain.engine.storage import finite, sweep_leftovers, write_config, write_text, write_whole
from cnntrain.errors import CheckpointError, Interrupted, Stopped

_KNOWN = ("cnntrain.", *FOREIGN)  # what a stored config may name without being trusted


class Run:
    """One run, as a context: inside it the folder is locked, and however it ends, ``status.json`` says so.

    ``config`` is the plain composed config; ``checkpoint`` is where a resumed run goes on (None: from the start); ``lock`` is the
    folder's, if it is held already.

    Raises:
        CheckpointError: on entering, if another process has the folder or it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: dict[str, Any],
        command: list[str] | None = None,
        checkpoint: Checkpoint | None = None,
        lock: Lock | None = None,
    ) -> None:
        self.folder, self.config, self.command = Path(folder), config, command or []
        self.checkpoint = checkpoint
        self.facts: dict[str, Any] = {}  # for status.json, however the run ends
        self.result: dict[str, Any] = {}
        self.remarks: list[str] = []  # for the user, once the run can speak
        self.rows = 0
        self._pending = b""  # rows that are not in the file yet
        self._metrics: FileIO | None = None
        self._lock = lock or Lock(self.folder)
        self._started = time.monotonic()

    @classmethod
    def reopen(cls, lock: Lock, *, config: dict[str, Any], command: list[str] | None = None) -> tuple["Run", list[str]]:
        """The run whose folder is locked, from its newest whole checkpoint on (or from its start), and remarks for the user.

        Raises:
            CheckpointError: none of its checkpoints is whole.
        """
        lock.take()  # before the first look: the checkpoint of a run that is still on is not its last
        checkpoint, remarks = read_newest(lock.folder)
        if checkpoint is None:
            remarks.append("it was stopped before its first checkpoint: starting again from its config.yaml")
        return cls(lock.folder, config=config, command=command, checkpoint=checkpoint, lock=lock), remarks

    def __enter__(self) -> "Run":
        """Lock the folder, remove what a killed process left, and say that the run is on."""
        self._lock.take()
        try:
            sweep_leftovers(self.folder)
            self.write_config()
            self._cut(self.checkpoint.meta["rows"] if self.checkpoint else 0)
            self._metrics = open(self.folder / "metrics.jsonl", "ab", buffering=0)  # noqa: SIM115 (open as long as the run lasts)
            self.log("command: " + " ".join(self.command))
            self.status("running")
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise unwritable(self.folder, error) from error
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Say how the run ended."""
        try:
            self.flush()
            if error is not None:
                self.log("".join(traceback.format_exception(error)))
            if error is None:
                self.status("done", **self.result)
            elif isinstance(error, Interrupted | KeyboardInterrupt | Stopped):
                self.status("interrupted", code=getattr(error, "exit_code", 130), error=str(error))
            else:
                self.status("failed", code=getattr(error, "exit_code", 1), error=str(error) or repr(error))
        except OSError as failure:
            if error is None:  # else the disk is what ended the run, and what is told is the error itself
                raise CheckpointError(
                    f"The run came to its end, but its status could not be written: {failure.strerror}",
                    where=str(self.folder),
                    fix=f"make room there, then {self.resume_command}",
                ) from failure
        finally:
            self._close()

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._lock.release()

    def write_config(self) -> None:
        """Write ``config.yaml``: the config as it is now."""
        write_config(self.folder, self.config)

    def status(self, state: str, **more: Any) -> None:
        """Write ``status.json``: running, done, failed or interrupted, and what there is to say."""
        facts = {"state": state, "pid": os.getpid(), "seconds": round(self.seconds(), 3), **self.facts, **more}
        write_text(self.folder / "status.json", json.dumps(finite(facts), indent=1, allow_nan=False) + "\n")

    @property
    def trust(self) -> str:
        """What a command that reads this run's config must add, if the run is of the user's own parts: " trust=[mynets]"."""
        modules = sorted({target.rpartition(".")[0] for target in targets(self.config) if not target.startswith(_KNOWN)})
        return f" trust=[{','.join(modules)}]" if modules else ""

    @property
    def program(self) -> str:
        """What starts a command of ours: as the user typed it."""
        return shlex.quote(self.command[0]) if self.command else "cnntrain"

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return f"{self.program} resume {shlex.quote(f'run={self.folder}')}{self.trust}"

    @property
    def tensorboard_command(self) -> str:
        """The command that shows this run, with the others if it lies among them."""
        program = Path(self.command[0] if self.command else "cnntrain").with_name("tensorboard")
        folder = "outputs" if self.folder.parts[:1] == ("outputs",) else str(self.folder)
        return f"{shlex.quote(str(program))} --logdir {shlex.quote(folder)}"

    def words(self, *, but: Collection[str]) -> list[str] | None:
        """What stood behind ``cnntrain`` and the verb when this run was started, without the values of the keys ``but`` and its folder.

        None: it is not known (the run goes on with another one's config), or was that of a sweep.
        """
        words = self.command[1:]
        if not self.command or {"resume", "-m", "--multirun"} & set(words):
            return None
        left = {"hydra.run.dir", *but}
        return [word for word in words if word not in ("train", "lr_find") and word.lstrip("+").partition("=")[0] not in left]

    def seconds(self) -> float:
        """Since this process took the run up."""
        return time.monotonic() - self._started

    def log(self, text: str) -> str | None:
        """Append to ``train.log``, with the time; returns why not, if the storage failed: no reason to lose a run."""
        try:
            with open(self.folder / "train.log", "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n")
        except OSError as error:
            return error.strerror
        return None

    def row(self, values: dict[str, float | int]) -> None:
        """Append a row to ``metrics.jsonl``; it is in the file after the next :meth:`flush` or :meth:`sync`."""
        self._pending += (json.dumps(finite(values), allow_nan=False) + "\n").encode()
        self.rows += 1

    def flush(self) -> None:
        """Let readers see the rows, as far as the storage takes them; it is asked again for the rest next time."""
        with contextlib.suppress(OSError):
            self._append()

    def sync(self) -> None:
        """Make the rows durable, so that a checkpoint never counts rows that are not there.

        Raises:
            OSError: the storage failed; no row is lost or doubled by asking again.
        """
        os.fsync(self._append().fileno())

    def _append(self) -> FileIO:
        assert self._metrics is not None, "a row belongs to a run that is on"
        while self._pending:
            self._pending = self._pending[self._metrics.write(self._pending) :]
        return self._metrics

    def cut_back(self) -> None:
        """Take back the rows after the first ``rows``, which the caller has set: the run goes on from where there were so many."""
        self.flush()
        assert self._metrics is not None
        self._metrics.close()
        self._pending = b""
        self._cut(self.rows)
        self._metrics = open(self.folder / "metrics.jsonl", "ab", buffering=0)  # noqa: SIM115 (open as long as the run lasts)

    def _cut(self, rows: int) -> None:
        """Cut ``metrics.jsonl`` back to its first ``rows`` rows: the resumed run writes the others again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []  # bytes: a power cut may have left any in it
        kept = [line for line in lines[:rows] if line.endswith(b"\n")]
        if len(kept) < rows:
            self.remarks.append(f"{path} has lost {rows - len(kept)} of the {rows} rows that were in it when the checkpoint was saved")
        write_whole(path, lambda file: file.write(b"".join(kept)))
        self.rows = len(kept)


def targets(tree: Any) -> list[str]:
    """Every ``_target_`` in a config."""
    if isinstance(tree, dict):
        own = [tree["_target_"]] if "_target_" in tree else []
        return own + [target for item in tree.values() for target in targets(item)]
    return [target for item in tree for target in targets(item)] if isinstance(tree, list | tuple) else []
