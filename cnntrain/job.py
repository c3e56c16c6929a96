"""One run of a task: its config checked, its folder, the call, and how it ended."""

import errno
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cnntrain.config import signature
from cnntrain.config.recipe import Recipe, check
from cnntrain.errors import CheckpointError, CnntrainError, ConfigError, OutOfMemoryError
from cnntrain.units import Count, Seconds


class Settings:
    """The keys of every verb that the command line itself obeys."""

    def __init__(self, *, debug: bool = False, trust: list[str] = []) -> None:  # noqa: B006 (read by the config check, never called)
        self.debug, self.trust = debug, trust


class Limits:
    """The keys below ``sweep``."""

    def __init__(self, *, parallel: Count | Literal["auto"] = "auto", job_timeout: Seconds | None = None) -> None:
        self.parallel: int | str = parallel
        self.job_timeout = job_timeout


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
        for key in [key for key in config if key not in names and (key == "augment" or config[key] is None)]:
            del config[key]  # a data set's fitting augmentation, for a task that has none
        machine = config.get("machine")
        share = threads(limits, machine) if threads and isinstance(machine, dict) and machine.get("threads", 0) is None else None
        if share is not None:
            config["machine"] = {**machine, "threads": share}
        return cls(check(config, files=files, trust=trust), config, "run" in names and "run" not in config, settings, limits, share)

    def call(self, folder: Path | None, command: list[str]) -> dict[str, Any]:
        """Call the task; if it has a folder, its log and status say how it ended."""
        if folder is None or not self.takes_run:
            return self.recipe()
        from cnntrain.engine.run import Run

        run = Run(folder, config=self.config, command=command)
        try:
            return self.recipe(run=run)
        except BaseException as error:
            if isinstance(error, ConfigError) and {path.name for path in folder.iterdir()} <= {"train.log"}:
                shutil.rmtree(folder)  # nothing was begun but the claim to the folder, so nothing is left
            elif not (folder / "status.json").exists():  # it failed before the task took the run up
                run.log("".join(traceback.format_exception(error)))
                run.status("failed", code=getattr(error, "exit_code", 1), error=str(error) or repr(error))
            raise


def tell(error: BaseException, *, debug: bool, log: Path | None = None) -> int:
    """Write how it went wrong, one line that ends stderr, and return the exit code. ``log`` is where the traceback is, if anywhere."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        return 141
    if isinstance(error, KeyboardInterrupt):
        print("error: interrupted (Ctrl-C). Fix: start it again", file=sys.stderr)
        return 130
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
    path = folder / "status.json"
    if not path.exists():
        facts = {key: result.get(key) for key in ("value", "metrics")} if isinstance(result, dict) else {}
        path.write_text(json.dumps({"state": "done", **facts}, default=str) + "\n")
