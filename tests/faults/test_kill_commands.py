"""The real ``cnntrain`` command, killed: at random times, and by strace at the system calls of its saves."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import forked
from faults.remains import everything, leftovers

from cnntrain import cli

KILLED = -signal.SIGKILL
SMALL = (
    "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=203 data.test_samples=60 data.classes=4 epochs=8 "
    "batch_size=16 machine.threads=1 report.progress=off checkpoint.every=3it"
).split()  # 96 steps, 32 saves
PATIENCE = 120.0  # seconds: a busy machine takes many for one start


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All that the undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("whole")
    ended = forked.run(lambda: cli.main(["train", *SMALL, f"hydra.run.dir={folder / 'run'}"]), folder / "console", timeout=PATIENCE)
    assert ended.code == 0, ended.output
    return everything(folder / "run")


def command(*words, prefix=()) -> subprocess.Popen:
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "cnntrain", *words], start_new_session=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def kill(process: subprocess.Popen, *, once: Path | None = None, after: float = 0.0) -> int:
    """SIGKILL it ``after`` seconds, counted from when a file is there; returns its exit code, 0 if it was quicker."""
    end = time.monotonic() + PATIENCE
    while once is not None and not once.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, KILLED), output
    return process.returncode


def again(run: Path) -> list[str]:
    """What a user gives next: the same command, and what its error says if there is a run."""
    return ["resume", f"run={run}"] if (run / "config.yaml").exists() else ["train", *SMALL, f"hydra.run.dir={run}"]


def test_a_command_killed_while_it_starts_and_while_it_trains(tmp_path, fault, whole, chance):
    run = tmp_path / "run"
    assert kill(command("train", *SMALL, f"hydra.run.dir={run}"), once=run / "config.yaml") == KILLED  # torch is being imported
    assert not (run / "last.safetensors").exists()
    killed = kill(command("resume", f"run={run}"), once=run / "last.safetensors", after=chance.uniform(0, 0.1))
    last = command(*again(run))
    output, _ = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, output
    assert everything(run) == whole and not leftovers(run)
    fault("A5", "a command killed while torch is imported")
    if killed:
        fault("A5", "a command killed while it trains")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_commands_killed_at_random_times(tmp_path, fault, whole, chance):
    kills = runs = 0
    longest = 8.0
    while kills < 25:
        runs += 1
        run = tmp_path / f"{runs}"
        while kill(command(*again(run)), after=chance.uniform(0, longest)) == KILLED:
            kills += 1
            longest *= 1.05  # a slow machine gets to the end, too
        assert everything(run) == whole and not leftovers(run), f"run {runs}"
    fault("A5", f"{kills} commands killed at random times")


def strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


POINTS = [(call, at) for call, most in {"fsync": 6, "rename": 5, "link": 2, "unlink": 2}.items() for at in range(1, most + 1)]


@pytest.mark.slow
@pytest.mark.skipif(not strace_works(), reason="strace cannot trace here")
@pytest.mark.parametrize(("call", "at"), POINTS)
def test_a_kill_at_a_system_call_of_the_command(tmp_path, fault, whole, call, at):
    run = tmp_path / "run"
    assert inject(f"{call}:signal=KILL:when={at}", run) not in (0, None)
    last = command(*again(run))
    output, _ = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0 and everything(run) == whole and not leftovers(run), output
    fault("A1", f"the command killed at {call} number {at}, by strace")


@pytest.mark.slow
@pytest.mark.skipif(not strace_works(), reason="strace cannot trace here")
@pytest.mark.parametrize(
    "what", ["fsync:error=EIO:when=9", "rename:error=EIO:when=7", "link:error=EPERM:when=2", "fsync:error=ENOSPC:when=12"]
)
def test_an_error_of_a_system_call_of_the_command(tmp_path, fault, whole, what):
    run = tmp_path / "run"
    assert inject(what, run) == 0
    assert everything(run) == whole and not leftovers(run)
    assert ("not written safely" in (run / "train.log").read_text()) == (not what.startswith("link"))
    fault("A2", f"strace: {what}")


def inject(what: str, run: Path) -> int | None:
    quick = [] if "signal" in what else ["--seccomp-bpf"]  # which sends no signals
    prefix = ["strace", "-f", *quick, "-o", os.devnull, "-e", f"trace={what.split(':')[0]}", "-e", f"inject={what}"]
    process = command("train", *SMALL, f"hydra.run.dir={run}", "report.tensorboard=false", prefix=prefix)
    process.communicate(timeout=PATIENCE)
    return process.returncode
