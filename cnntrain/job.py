"""One run of a task: its config checked, its folder, the call, and how it ended."""

import contextlib
import errno
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cnntrain.config import run_folder, signature
from cnntrain.config.recipe import Recipe, check
from cnntrain.errors import CheckpointError, CnntrainError, ConfigError, Interrupted, OutOfMemoryError, Stopped
from cnntrain.units import Count, Seconds

# What a data set or a recipe chooses for a training, and a task that has no use for it is not given.
_OF_TRAINING = ("augment", "average")
_PATIENCE = 60.0  # seconds that a job of a sweep waits for the same job of a sweep before, which may be saving yet


class Settings:
    """The keys of every verb that the command line itself obeys."""

    def __init__(self, *, debug: bool = False, trust: list[str] = []) -> None:  # noqa: B006 (read by the config check, never called)
        self.debug, self.trust = debug, trust


class Limits:
    """The keys below ``sweep``. ``resume``: go on with the newest sweep of the same command, if there is one."""

    def __init__(self, *, parallel: Count | Literal["auto"] = "auto", job_timeout: Seconds | None = None, resume: bool = False) -> None:
        self.parallel: int | str = parallel
        self.job_timeout, self.resume = job_timeout, resume


class Job(NamedTuple):
    """A checked run. ``config`` is the plain tree that was checked, for ``config.yaml``; ``takes_run``: it has a folder.

    ``share``: the threads that a sweep gave it, where the config says nothing of threads.
    """

    recipe: Recipe
    config: dict[str, Any]
    takes_run: bool
    settings: Settings
    limits: Limits
    share: int | None = None

    @classmethod
    def of(
        cls,
        tree: Mapping[str, Any],
        *,
        files: Mapping[str, str] | None = None,
        trust: list[str] | None = None,
        threads: Callable[[Limits, Mapping[str, Any]], int | None] | None = None,
    ) -> "Job":
        """Check a verb's plain tree. ``trust``: it is a stored one, and may name only ours and these modules.

        ``threads``: this job's share of cores by its limits and its ``machine``, asked unless the config says how many.

        Raises:
            ConfigError: all that is wrong with it.
        """
        config = dict(tree)
        own: dict[str, Any] = {key: config.pop(key) for key in ("debug", "trust") if key in config}
        sweep = config.pop("sweep", None) or {}
        settings = check({**own, "_target_": "cnntrain.job.Settings"})()
        limits = check({**sweep, "_target_": "cnntrain.job.Limits"}, place="sweep")()  # last, so that a stored tree cannot name another
        if trust is not None:
            check(config, files=files, trust=trust)  # before any name in a stored tree is looked for, which may import
        names = signature.read(config["_target_"]).parameters if "_target_" in config else {}
        if "trust" in names:
            config["trust"] = settings.trust
        for key in [key for key in config if key not in names and (key in _OF_TRAINING or config[key] is None)]:
            del config[key]
        machine = config.get("machine")
        share = threads(limits, machine) if threads and isinstance(machine, dict) and machine.get("threads", 0) is None else None
        if share is not None:
            config["machine"] = {**machine, "threads": share}
        return cls(check(config, files=files, trust=trust), config, "run" in names and "run" not in config, settings, limits, share)

    def call(self, folder: Path | None, command: list[str], *, again: bool = False, made: Collection[Path] | None = None) -> dict[str, Any]:
        """Call the task; if it has a folder, its log and status say how it ended.

        ``again``: the folder is this very job's, and what it has begun there goes on from its newest checkpoint, as by ``cnntrain resume``.
        ``made``: the folders that were made for this run; where a ConfigError shows that it cannot be, they and its files go again.
        None: its folder stays, and says how it ended.

        Raises:
            CheckpointError: the folder holds a run, or another process has it.
        """
        if folder is None or not self.takes_run:
            return self.recipe()
        from cnntrain.engine.lock import Lock, unwritable
        from cnntrain.engine.storage import write_config

        with Lock(folder, patience=_PATIENCE if again else 0) as lock:  # of two starts with one folder, one goes on
            if again and (folder / "config.yaml").exists():
                return self._go_on(lock, command)
            if not again:
                run_folder.refuse_results(folder)
            before: list[str] = []
            try:
                try:
                    before = [path.name for path in folder.iterdir() if path.name != "run.lock"]
                    write_config(folder, self.config)  # before the seconds that importing torch takes: killed in them, it can be resumed
                except OSError as error:
                    raise unwritable(folder, error) from error
                from cnntrain.engine.run import Run

                return self.recipe(run=Run(folder, config=self.config, command=command, lock=lock))
            except BaseException as error:
                with contextlib.suppress(OSError, CheckpointError):  # of a storage that fails, or of who took the folder over
                    if made is not None:
                        lock.take()  # the run has let it go
                    _note(folder, error, made, before)
                raise

    def _go_on(self, lock: Any, command: list[str]) -> dict[str, Any]:
        """The stored config is this one, with the threads and the learning rate that were found for it."""
        from cnntrain.config.stored import read_config
        from cnntrain.engine.run import targets
        from cnntrain.task.resume import resume

        trust = sorted({target.rpartition(".")[0] for target in targets(self.config)})  # the command line names these modules itself
        return resume(run=str(lock.folder), config=read_config(lock.folder), command=command, trust=trust, lock=lock)


def _note(folder: Path, error: BaseException, made: Collection[Path] | None, before: Collection[str]) -> None:
    """See to the folder of a run that an error ended: that it is as ``before`` if nothing was begun, or else that it says how it ended.

    A config that cannot be is nothing to go on with; data or storage that were not there may be mended, and then `resume` begins the run.

    Raises:
        OSError: the storage fails, which is what the error itself tells of.
    """
    from cnntrain.engine.storage import write_text

    stopped = isinstance(error, Interrupted | Stopped | KeyboardInterrupt)
    names = {path.name for path in folder.iterdir()}
    idle = isinstance(error, ConfigError) or (stopped and names <= {"run.lock", "config.yaml", *before})
    if made is not None and idle and run_folder.take_back(folder, made, before):
        return
    if "status.json" not in names:
        facts = {
            "state": "interrupted" if stopped else "failed",
            "pid": os.getpid(),
            "code": exit_code(error),
            "error": str(error) or repr(error),
        }
        (folder / "train.log").write_text("".join(traceback.format_exception(error)))
        write_text(folder / "status.json", json.dumps(facts) + "\n")


def exit_code(error: BaseException) -> int:
    """What the command ends with after this error."""
    return 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)


def tell(error: BaseException, *, debug: bool, log: Path | None = None) -> int:
    """Write how it went wrong, one line that ends stderr, and return the exit code. ``log`` is where the traceback is, if anywhere."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        return 141
    if isinstance(error, KeyboardInterrupt):
        error = Stopped(signal.SIGINT)
    if isinstance(error, Stopped):
        print(f"error: stopped by {signal.Signals(error.signum).name}. Fix: start it again", file=sys.stderr)
        return error.exit_code
    if not isinstance(error, CnntrainError):
        error = _known(error) or _bug(error, log)
    print(f"error: {' '.join(str(error).split())}" if "\n" not in str(error) else f"error: {error}", file=sys.stderr)
    return error.exit_code


def _known(error: BaseException) -> CnntrainError | None:
    """Memory and storage that have run out, wherever that was."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemoryError("memory has run out", where=str(error).split(". ")[0][:120], fix="a smaller batch_size, or microbatch=32")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return CheckpointError(
            f"{error.strerror}", where=str(error.filename or "storage"), fix="make room, or hydra.run.dir=FOLDER elsewhere"
        )
    return None


def _bug(error: BaseException, log: Path | None) -> CnntrainError:
    """An error that nobody foresaw: in the user's own code, or ours."""
    if log is None or not log.is_file():
        with tempfile.NamedTemporaryFile("w", prefix="cnntrain-error-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
        log = Path(file.name)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename and "<" not in frame.filename
    ]
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    ours = not frames or str(Path(__file__).parent) in frames[-1].filename
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
    fix = f"this is a bug in cnntrain: report it with {log}" if ours else f"mend that file; the traceback is in {log}"
    return CnntrainError(text, where=place, fix=fix)


def record(folder: Path, result: Any) -> None:
    """Write ``status.json`` for a task that has no run of its own but is a sweep's job."""
    from cnntrain.engine.storage import write_text

    facts = {key: result.get(key) for key in ("value", "metrics")} if isinstance(result, dict) else {}
    write_text(folder / "status.json", json.dumps({"state": "done", **facts}, default=str) + "\n")
