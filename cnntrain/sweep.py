"""A sweep: every combination checked, then run in a folder and process of its own, then ranked."""

import glob
import json
import math
import os
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnntrain.config import run_folder
from cnntrain.data.storage import available_memory, end_with, usable_cores
from cnntrain.engine.lock import Lock
from cnntrain.engine.signals import ending_the_command
from cnntrain.engine.storage import finite, write_text
from cnntrain.errors import CnntrainError, Interrupted, Stopped, SweepError
from cnntrain.job import Job, Limits, record, tell
from hydra_plugins.cnntrain_launcher import processes
from hydra_plugins.cnntrain_launcher.outcome import Outcome, outcome_of, read_json
from hydra_plugins.cnntrain_launcher.preload import import_what_they_need
from hydra_plugins.cnntrain_launcher.ranking import show, show_running

if TYPE_CHECKING:
    from cnntrain.config.compose import Composer

Running = dict[int, tuple[int, list[str], Path, processes.Process]]  # by slot: number, overrides, folder, process
_LOOK_EVERY = 0.02  # seconds
_MEMORY_OF_A_JOB = 2 * 2**30  # bytes that sweep.parallel=auto leaves for each


def sweep(composer: "Composer", words: list[str], command: list[str]) -> dict[str, Any]:
    """Check all combinations, let Hydra's sweeper run them, and print the ranking.

    Raises:
        ConfigError: a combination that cannot be; nothing has been created then.
        SweepError: at least one job failed.
    """
    plan = Sweep(composer, command)
    same = {"verb": composer.verb, "words": [word for word in words if not _is_about_running(word)], "started": time.time()}
    combinations = composer.combinations(words)
    plan.num_jobs, plan.hydra = len(combinations), [word for word in combinations[0] if _is_hydra(word)]
    for combination in combinations:
        plan.job(combination)
    for note in plan.notes:
        print(f"note: {note}")
    plan.swept = _swept(combinations)
    plan.folder = _folder(composer, combinations[0], same, resume=plan.job(combinations[0]).limits.resume)
    if composer(combinations[0]).given("sweep.subdir"):
        plan.subfolder = lambda job: composer([*job, *plan.hydra]).setting("sweep.subdir")
    with Lock(plan.folder, key="hydra.sweep.dir"):
        _note(plan.folder, same)
        composer.multirun(words, plan.folder, plan)
        outcomes = plan.outcomes
        _note(plan.folder, same, jobs=[outcome._asdict() for outcome in outcomes])
    show(outcomes, plan.folder)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(outcomes)} jobs failed",
            where=str(plan.folder),
            fix=f"see {failed[0].folder}/console.log, then {plan.again}",
        )
    return {
        "folder": str(plan.folder),
        "jobs": [{"folder": str(one.folder), "overrides": one.overrides, "value": one.value} for one in outcomes],
    }


def _folder(composer: "Composer", job: list[str], same: dict[str, Any], *, resume: bool) -> Path:
    """The sweep's folder: the one that the command line names, the newest of the ``same`` sweep where that is to go on, or a new one."""
    composed = composer(job)
    given = composed.given("sweep.dir")
    before = []
    if resume and not given:
        found = [(read_json(Path(path) / "sweep.json"), path) for path in glob.glob(composed.pattern("sweep.dir") + "*")]
        before = sorted(
            (float(facts.get("started", 0)), path) for facts, path in found if all(facts.get(key) == same[key] for key in ("verb", "words"))
        )
    path = Path(composed.setting("sweep.dir"))
    return Path(before[-1][1]) if before else run_folder.create(path, given=given, key="hydra.sweep.dir")


def _note(folder: Path, same: dict[str, Any], **more: Any) -> None:
    """Write ``sweep.json``: by which command, and how its jobs ended. A sweep goes on without it."""
    started = read_json(folder / "sweep.json").get("started", same["started"])
    try:
        write_text(folder / "sweep.json", json.dumps(finite({**same, "started": started, **more}), default=str, indent=1) + "\n")
    except OSError as error:
        print(f"warning: {folder / 'sweep.json'} cannot be written: {error.strerror}", file=sys.stderr)


class Sweep:
    """Hydra's task function of a sweep, and what its launcher asks: the jobs, and how they ended."""

    def __init__(self, composer: "Composer", command: list[str]) -> None:
        self.composer, self.command = composer, command
        given = any(word.lstrip("+").startswith(("hydra.sweep.dir=", "sweep.resume=true")) for word in command)
        self.again = shlex.join(command if given else [*command, "sweep.resume=true"])  # the command that goes on with this sweep
        self.folder = Path()
        self.swept: set[str] = set()
        self.outcomes: list[Outcome] = []
        self.subfolder: Any = None
        self.num_jobs = 1
        self.notes: dict[str, None] = {}  # what was told of their configs, each once
        self.hydra: list[str] = []  # the words that are Hydra's own, which its sweeper keeps to itself
        self._jobs: dict[tuple[str, ...], Job] = {}

    def job(self, overrides: Sequence[str]) -> Job:
        """The checked job for these overrides."""
        key = tuple(word for word in overrides if not _is_hydra(word))
        if key not in self._jobs:
            composed = self.composer([*key, *self.hydra])
            self.notes |= dict.fromkeys(composed.notes)
            self._jobs[key] = Job.of(composed.tree, files=composed.files, threads=self._share)
        return self._jobs[key]

    def __call__(self, config: Any) -> float:
        """Run one job here, for a launcher that is not ours."""
        from cnntrain.config.compose import job_tree, output_folder

        job, folder = Job.of(job_tree(config, self.composer)), output_folder()
        result = job.call(folder, self.command)
        self.outcomes.append(outcome_of(len(self.outcomes), [], folder, job.config, 0, 0.0, timeout=False))
        value = result.get("value")
        return math.nan if value is None else float(value)

    def launch(self, jobs: list[list[str]], *, first: int, start: str) -> list[Outcome]:
        """Run jobs, ``sweep.parallel`` at once, and say how each ended."""
        limits = self.job(jobs[0]).limits
        parallel = jobs_at_once(limits, self.job(jobs[0]).config.get("machine") or {}, len(jobs))
        waiting = deque(enumerate(jobs, start=first))
        forking = start != "fresh" and processes.can_fork()
        if forking:
            import_what_they_need([self.job(overrides).recipe for overrides in jobs])
            forking = processes.can_fork()
        gpus = processes.num_gpus() if parallel > 1 else 0
        ended: dict[int, Outcome] = {}
        running: Running = {}
        with _stopping(running, self.folder, self.again):
            while waiting or running:
                for slot in [slot for slot in range(parallel) if slot not in running]:
                    if not waiting:
                        break
                    number, overrides = waiting.popleft()
                    folder, before = self._place(number, overrides)
                    if before is not None:
                        ended[number] = before
                        self._say(before, len(ended), len(jobs), again=True)
                        continue
                    environment = {"CUDA_VISIBLE_DEVICES": processes.gpu_name(slot % gpus)} if gpus else {}
                    running[slot] = (number, overrides, folder, self._start(overrides, folder, environment, forking=forking))
                for slot, (number, overrides, folder, process) in list(running.items()):
                    code = process.poll(limits.job_timeout)
                    if code is not None:
                        del running[slot]
                        seconds = time.monotonic() - process.started
                        ended[number] = outcome_of(
                            number, overrides, folder, self.job(overrides).config, code, seconds, timeout=process.timed_out
                        )
                        self._say(ended[number], len(ended), len(jobs))
                show_running(running)
                time.sleep(_LOOK_EVERY)
        found = [ended[number] for number in sorted(ended)]
        self.outcomes += found
        return found

    def _share(self, limits: Limits, machine: Mapping[str, Any]) -> int:
        """The threads of one job."""
        return max(1, num_cores() // jobs_at_once(limits, machine, self.num_jobs))

    def _place(self, number: int, overrides: list[str]) -> tuple[Path, Outcome | None]:
        """The job's folder, made; and how it ended, if an earlier run of this sweep has done it already."""
        special = [text for text in overrides if text.partition("=")[0] in self.swept]
        name = self.subfolder(overrides) if self.subfolder is not None else run_folder.job_name(number, special)
        path, job = self.folder / name, self.job(overrides)
        asked = _as_json(job)
        begun = None
        for folder in sorted(path.parent.glob(f"{glob.escape(path.name)}*")):
            if read_json(folder / "job.json").get("config") == asked:
                if read_json(folder / "status.json").get("state") == "done":
                    return folder, outcome_of(number, overrides, folder, job.config, 0, 0.0, timeout=False)
                begun = begun or folder
        folder = begun or run_folder.create(path, given=False)
        facts = {"config": asked, "threads": job.share, "overrides": overrides, "debug": job.settings.debug}
        write_text(folder / "job.json", json.dumps({**facts, "command": self.command, "parent": os.getpid()}) + "\n")
        return folder, None

    def _start(self, overrides: list[str], folder: Path, environment: dict[str, str], *, forking: bool) -> processes.Process:
        console, job = folder / "console.log", self.job(overrides)
        if forking:
            return processes.fork(lambda: _run(job, folder, self.command), console=console, environment=environment)
        return processes.fresh(folder, console=console, environment=environment)

    def _say(self, outcome: Outcome, count: int, total: int, *, again: bool = False) -> None:
        from cnntrain.engine.terminal import console

        value = "" if math.isnan(outcome.value) else f"{outcome.value:.4f}"  # nothing was held out
        ending = f"failed: {outcome.error}" if outcome.error else f"{value or 'done'} in {outcome.seconds:.0f} s"
        before = f"was done already{f': {value}' if value else ''}"
        line = f"[{count}/{total}] {outcome.folder.name}  {before if again else ending}"
        show_running({})
        console().print(line, markup=False, soft_wrap=True)


def run_stored(folder: Path) -> int:
    """Run the job that a folder's ``job.json`` describes: the child of a sweep where there is no fork."""
    facts = json.loads((folder / "job.json").read_text())
    end_with(facts["parent"], signal.SIGTERM)
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        job = Job.of({**facts["config"], "debug": facts["debug"]}, threads=lambda *_: facts["threads"])
    except CnntrainError as error:
        return tell(error, debug=False)
    return _run(job, folder, facts["command"])


def jobs_at_once(limits: Limits, machine: Mapping[str, Any], num_jobs: int) -> int:
    """How many jobs run at once: what ``sweep.parallel`` says, or as many as there are GPUs, or cores and memory.

    Two networks on a thread each make 1.2 (ResNet-20) to 1.4 (LeNet-5) times the progress of one after the other on two threads.
    """
    if isinstance(limits.parallel, int):
        return limits.parallel
    on_gpus = 0 if machine.get("device") == "cpu" else processes.num_gpus()
    cores = num_cores() // (machine.get("threads") or 1)
    return max(1, min(num_jobs, on_gpus or min(cores, available_memory() // _MEMORY_OF_A_JOB)))


def num_cores() -> int:
    """The cores that this process may use; OMP_NUM_THREADS may allow fewer, as it does for torch."""
    cores = usable_cores()
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(allowed)) if allowed.isdecimal() and int(allowed) > 0 else cores


def _run(job: Job, folder: Path, command: list[str]) -> int:
    """A job in its own process: the exit code."""
    with ending_the_command():
        try:
            result = job.call(folder, command, again=True)
            if not job.takes_run:
                record(folder, result)
            return 0
        except SystemExit as leave:
            return leave.code if isinstance(leave.code, int) else 1
        except BaseException as error:
            return tell(error, debug=job.settings.debug, log=folder / "train.log")


@contextmanager
def _stopping(running: Running, folder: Path, again: str) -> Iterator[None]:
    """Whatever ends this early (Ctrl-C, SIGTERM, an error) also ends the jobs, after they have saved."""
    try:
        yield
    except BaseException as error:
        for *_, process in running.values():
            process.stop()
        while any(process.poll() is None for *_, process in running.values()):
            time.sleep(_LOOK_EVERY)
        if isinstance(error, KeyboardInterrupt | Stopped):
            number = error.signum if isinstance(error, Stopped) else signal.SIGINT
            name = signal.Signals(number).name
            raise Interrupted(f"{name} stopped the sweep", signum=number, where=str(folder), fix=again) from error
        raise
    finally:
        show_running({})


def _swept(combinations: Sequence[Sequence[str]]) -> set[str]:
    """The keys that differ between jobs."""
    values: dict[str, set[str]] = {}
    for text in (text for combination in combinations for text in combination):
        values.setdefault(text.partition("=")[0], set()).add(text)
    return {key for key, found in values.items() if len(found) > 1}


def _is_hydra(word: str) -> bool:
    return word.lstrip("+~").startswith(("hydra.", "hydra/"))


def _is_about_running(word: str) -> bool:
    """Whether a word says how jobs are run and not which: with another one it is the same sweep."""
    return word.lstrip("+").startswith(("sweep.", "hydra.sweep.dir=", "hydra.launcher."))


def _as_json(job: Job) -> Any:
    """The config as it was asked for, without the threads that the sweep gave: another ``sweep.parallel`` is the same job."""
    config = job.config if job.share is None else {**job.config, "machine": {**job.config["machine"], "threads": None}}
    return json.loads(json.dumps(config, default=str))
