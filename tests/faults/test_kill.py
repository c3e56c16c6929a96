"""A run that is killed, or whose disk fails, at every file operation and at random times ends as if nothing had been."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import workload
from faults import forked
from faults.disk import KILL, SHORT, TORN, Disk, room
from faults.remains import everything, leftovers
from workload import train

from cnntrain.engine import checkpoint
from cnntrain.engine.checkpoint import read_newest
from cnntrain.errors import CheckpointError

SHORT_RUN = {"epochs": "8it", "every": "3it"}  # saves after step 3 (the first), 6 (the second; with a row) and 8 (the best)
TWO_EPOCHS = {"epochs": 2}  # a best is saved half-way
KILLED = 128 + signal.SIGKILL


@pytest.fixture
def folders():
    with room() as folder:
        yield folder


def rehearse(folder: Path, **options) -> tuple[list[str], str]:
    """The operations of an undisturbed run, and all that it leaves."""
    with Disk() as disk:
        train(folder, **options)
    return disk.seen, everything(folder)


def phase(operations: list[str], at: int) -> str:
    """Which save number ``at`` (from 1) belongs to: the same operation of another save is another fault."""
    saves = sum(operation == "replace last.safetensors" for operation in operations[: at - 1])
    return f"operation of save {saves + 1}: {operations[at - 1]}"


def kill_at(at: int, folder: Path, trouble: str = KILL, **options) -> None:
    def work():
        with Disk(at, trouble):
            train(folder, **options)

    ended = forked.run(work, folder.with_suffix(".console"))
    assert ended.code == KILLED, ended.output


@pytest.mark.parametrize("trouble", [KILL, TORN])
def test_a_kill_at_every_file_operation(folders, fault, trouble):
    operations, whole = rehearse(folders / "whole", **SHORT_RUN)
    first = operations.index("replace last.safetensors") + 1
    for at, operation in enumerate(operations, 1):
        if trouble == TORN and not operation.startswith("write"):
            continue
        folder = folders / f"{at}"
        kill_at(at, folder, trouble, **SHORT_RUN)
        found, remarks = read_newest(folder)
        assert (found is not None) == (at > first) and not remarks, (at, operation)
        train(folder, **SHORT_RUN)
        assert everything(folder) == whole, (at, operation)
        assert not leftovers(folder), (at, operation)
        fault("A1", f"{trouble} at {phase(operations, at)}")
    assert first < len(operations)


def test_a_kill_at_operations_where_links_are_not_possible(folders, fault, monkeypatch):
    def no_link(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_link)  # as on FAT and some network storage: files are copied
    operations, whole = rehearse(folders / "whole", **SHORT_RUN)
    copies = [at for at, operation in enumerate(operations, 1) if operation.endswith(("new previous.safetensors", "new best.safetensors"))]
    assert [operations[at - 1].split()[0] for at in copies if "best" in operations[at - 1]] == ["link", "open", "write", "fsync", "unlink"]
    for at in copies:
        folder = folders / f"{at}"
        kill_at(at, folder, **SHORT_RUN)
        assert read_newest(folder)[0] is not None
        train(folder, **SHORT_RUN)
        assert everything(folder) == whole and not leftovers(folder), operations[at - 1]
        fault("A1", f"kill, no hard links, at {phase(operations, at)}")


@pytest.mark.parametrize("trouble", ["either", SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in ("EIO", "ENOSPC"))])
def test_an_error_at_every_file_operation(folders, fault, chance, trouble):
    operations, whole = rehearse(folders / "whole", **SHORT_RUN)
    warned = ended = 0
    for at, operation in enumerate(operations, 1):
        if trouble == SHORT and not operation.startswith("write"):
            continue
        error = chance.choice(["EIO", "ENOSPC"]) if trouble == "either" else trouble
        folder = folders / f"{at}"
        try:
            with Disk(at, error):
                train(folder, **SHORT_RUN)
        except CheckpointError as told:
            ended += 1
            assert told.exit_code == 4 and told.fix and str(folder) in str(told), (at, operation)
            assert "No space left" in str(told) or "Input/output" in str(told)
            train(folder, **SHORT_RUN)
        else:
            warned += "not written safely" in (folder / "train.log").read_text()
        assert everything(folder) == whole, (at, operation)
        assert not leftovers(folder), (at, operation)
        fault("A2", f"{error} at {phase(operations, at)}")
    assert warned and ended


def ever_worse(monkeypatch) -> None:
    """Let each evaluation's accuracy be lower than the one before: 1, 1/2, 1/3 …"""
    real, seen = workload.evaluate, []

    def evaluate(*args, **options):
        found = real(*args, **options)
        seen.append(1)
        found.metrics["accuracy"] = 1 / len(seen)
        return found

    monkeypatch.setattr(workload, "evaluate", evaluate)


def test_an_error_while_a_best_is_saved_half_way(folders, fault):
    operations, _ = rehearse(folders / "whole", **TWO_EPOCHS)
    end = operations.index("replace last.safetensors") + 3
    begin = max(at for at, operation in enumerate(operations[:end]) if operation == "open new last.safetensors")
    for at in range(begin + 1, end + 1):
        folder = folders / f"{at}"
        with Disk(at, "EIO"):
            train(folder, **TWO_EPOCHS)
        last, best = (checkpoint.read(folder / f"{name}.safetensors") for name in ("last", "best"))
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        judged = {row["step"]: (row["val/accuracy"], -row["val/loss"]) for row in rows if "val/accuracy" in row}
        assert last.meta["best"]["best_step"] == best.meta["step"] and last.meta["best"]["best"] == best.meta["metrics"]["accuracy"]
        if "replace best.safetensors" in operations[: at - 1]:  # it was on disk already when the rest failed: it is not forgotten
            assert judged[best.meta["step"]] == max(judged.values())
        assert not leftovers(folder)
        fault("A2", f"EIO while a best is saved at {phase(operations, at)}")


def test_a_best_that_could_not_be_saved_is_none_to_be_better_than(folders, fault, monkeypatch):
    """Whatever is judged next is the best on disk, though worse than what is lost."""
    ever_worse(monkeypatch)
    with Disk("open new last.safetensors", "EIO"):  # of the first save, after the first epoch
        train(folders / "run", epochs=3)
    best, last = (checkpoint.read(folders / f"run/{name}.safetensors").meta for name in ("best", "last"))
    assert best["step"] == last["best"]["best_step"] == 34 and last["best"]["best"] == 1 / 2 and last["step"] == 51
    fault("A2", "EIO while a best is saved that no later one reaches")


def test_three_failures_in_a_row_end_the_run_and_name_the_newest_good_checkpoint(folders, fault):
    options = {"epochs": "20it", "every": "2it"}
    operations, whole = rehearse(folders / "whole", **options)
    at = [place for place, operation in enumerate(operations, 1) if operation == "open new last.safetensors"][3]
    with pytest.raises(CheckpointError, match=r"3 times in a row: No space left.*is that of step 6.*resume run=") as failed:
        with Disk(at, "ENOSPC", times=10**9):
            train(folders / "run", **options)
    assert failed.value.exit_code == 4 and checkpoint.read(folders / "run/last.safetensors").meta["step"] == 6
    train(folders / "run", **options)
    assert everything(folders / "run") == whole and not leftovers(folders / "run")
    fault("A2", "a disk that stays full")


# --- chained and random kills

MORE_RUNS = [
    {},
    {"optimizer": "sgd", "average": "swa", "microbatch": 3},
    {"optimizer": "fused_sgd", "average": "ema", "microbatch": 5},
    {"optimizer": "fused_adamw", "clip": 0.1},
    {"optimizer": "adam", "average": "lookahead"},
    {"optimizer": "rmsprop", "average": "swa"},
    {"optimizer": "adam", "epochs": "40it"},
    {"precision": "fp16", "clip": 0.5},
]


def lives(folder: Path, chance, *, most: int, **options) -> int:
    """Kill the run after a random number of steps, again and again, until it comes to its end; returns the number of kills."""
    before = -1
    for kills in range(most + 1):
        left = chance.randrange(1, 10) if kills < most else 10**9
        ended = forked.run(lambda left=left: die_after(left, folder, options), folder.with_suffix(".console"))
        if ended.code == 0:
            return kills
        assert ended.code == KILLED, ended.output
        found, _ = read_newest(folder)
        step = found.meta["step"] if found else 0
        assert step > before, "a life that moved nothing on"
        before = step
    raise AssertionError("it does not end")


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adamw", "average": "ema"},
        {"average": "lookahead", "patience": 1, "epochs": 5},
        *(pytest.param(options, marks=pytest.mark.slow) for options in MORE_RUNS),
    ],
)
def test_twenty_kills_in_a_row(folders, fault, chance, options):
    options = {"every": "1it", **options}
    train(folders / "whole", **options)
    kills = lives(folders / "run", chance, most=20, **options)
    assert everything(folders / "run") == everything(folders / "whole") and not leftovers(folders / "run") and kills >= 4
    fault("A4", f"chained kills, {options}")


def die_after(steps: int, folder: Path, options: dict) -> None:
    seen = []

    def on_step(step):
        seen.append(step)
        if len(seen) > steps:
            os.kill(os.getpid(), signal.SIGKILL)

    train(folder, on_step=on_step, **options)


def random_kills(folder: Path, chance, work, longest: float) -> int:
    """SIGKILL a life of ``work`` after a random time, until one comes to its end; returns the number of kills."""
    kills = 0
    while True:
        child = forked.start(work, folder.with_suffix(".console"))
        time.sleep(chance.uniform(0, longest))
        child.send(signal.SIGKILL)
        ended = child.wait()
        if ended.code == 0:
            return kills
        assert ended.code == KILLED, ended.output
        kills += 1
        longest *= 1.1  # else a slow machine would never get to the end


def test_kills_at_random_times(folders, fault, chance):
    train(folders / "whole", every="2it", epochs=1)
    whole, kills, runs = everything(folders / "whole"), 0, 0
    while kills < 40:
        runs += 1
        folder = folders / f"{runs}"
        folder.with_suffix(".console").touch()
        kills += random_kills(folder, chance, lambda folder=folder: train(folder, every="2it", epochs=1) and None, 0.06)
        assert everything(folder) == whole and not leftovers(folder), f"run {runs}"
    fault("A5", "SIGKILL at random times, by forks")


# --- kills elsewhere


def test_a_kill_in_the_evaluation(folders, fault, monkeypatch):
    train(folders / "whole", **TWO_EPOCHS)
    real, seen = workload.evaluate, []

    def dies(*args, **options):
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    monkeypatch.setattr(workload, "evaluate", dies)
    assert forked.run(lambda: train(folders / "run", **TWO_EPOCHS) and None, folders / "console").code == KILLED
    monkeypatch.undo()
    train(folders / "run", **TWO_EPOCHS)
    assert everything(folders / "run") == everything(folders / "whole")
    fault("A6", "SIGKILL in the evaluation")


def test_a_kill_at_every_file_operation_of_the_resume_itself(folders, fault):
    _, whole = rehearse(folders / "whole", **SHORT_RUN)
    torn = folders / "torn"
    with pytest.raises(workload.Killed):
        train(torn, kill_at=5, **SHORT_RUN)
    (torn / ".tmp-99999999-last.safetensors").write_bytes(b"half")
    with Disk() as disk, pytest.raises(workload.Killed):
        train(torn, kill_at=4, **SHORT_RUN)  # of the resumed life, before it does anything else
    operations = disk.seen
    for at, operation in enumerate(operations, 1):
        (torn / ".tmp-99999999-last.safetensors").write_bytes(b"half")
        kill_at(at, torn, **SHORT_RUN | {"kill_at": 4})
        assert read_newest(torn)[0].meta["step"] == 3, (at, operation)
        fault("A6", f"SIGKILL in a resume at {operation}")
    assert "unlink new last.safetensors" in operations
    train(torn, **SHORT_RUN)
    assert everything(torn) == whole and not leftovers(torn)


# --- what is not ours stays


def test_files_of_another_run_in_the_folder_are_not_touched(folders, fault):
    train(folders / "whole", epochs=2)
    folder = folders / "run"
    with pytest.raises(workload.Killed):
        train(folder, epochs=2, kill_at=20)
    others = {
        "epoch=99.safetensors",
        "checkpoint-100000.pt",
        "last.safetensors.bak",
        "last-v1.ckpt",
        ".tmp-notes",
        "events.out.tfevents.1.x",
    }
    for name in others:
        (folder / name).write_text(name)
    (folder / ".tmp-12-folder").mkdir()
    train(folder, epochs=2)
    assert all((folder / name).read_text() == name for name in others) and (folder / ".tmp-12-folder").is_dir()
    assert everything(folder) == everything(folders / "whole")
    fault("A7", "a run folder that holds another run's files")


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_best_at_the_first_evaluation_outlives_all_later_saves(folders, fault, epochs, monkeypatch):
    ever_worse(monkeypatch)
    train(folders / "run", epochs=epochs, every="1it")
    best, last = (checkpoint.read(folders / f"run/{name}.safetensors").meta for name in ("best", "last"))
    assert best["step"] == 17 and last["step"] == 17 * epochs and last["best"]["best_step"] == 17
    assert checkpoint.read(folders / "run/previous.safetensors").meta["step"] == 17 * epochs - 1
    fault("A7", f"best at the first of {epochs} evaluations")
