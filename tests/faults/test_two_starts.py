"""G5: several starts at once. Nobody shares a folder with anybody, and whoever comes second is told by whom it is taken."""

import os
import re
import signal
import time
from functools import partial

import pytest
from fake_verb import lay_out
from faults import composed, forked
from workload import fingerprint

from cnntrain import cli
from cnntrain.config.run_folder import create
from cnntrain.engine.lock import Lock
from cnntrain.engine.run import Run
from cnntrain.errors import CheckpointError


@pytest.fixture(scope="module")
def job():
    return composed.composed("report.progress=lines", "report.tensorboard=false")


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert forked.run(lambda: composed.main(job, folder), folder.parent / "log").code == 0
    return fingerprint(folder)


def at_once(number: int, work, logs) -> list[tuple[int, forked.Ended]]:
    """Run ``work`` in so many forks that all begin at the same moment; their process ids, and how they ended."""
    reading, writing = os.pipe()

    def waiting():
        os.close(writing)
        os.read(reading, 1)  # until the other end is closed
        return work()

    children = [forked.start(waiting, logs / f"log{count}") for count in range(number)]
    os.close(writing)
    os.close(reading)
    return [(child.pid, child.wait()) for child in children]


def holding_it_a_while(work):
    """``work``, but each run lasts so long that all others must meet it."""
    from cnntrain.engine.report import Report

    first_batch, seen = Report.first_batch, []

    def slow(self, *args):
        if not seen:
            time.sleep(1.0)
        seen.append(None)
        return first_batch(self, *args)

    Report.first_batch = slow
    return work()


@pytest.mark.parametrize("number", [20, pytest.param(2, marks=pytest.mark.slow)])
def test_starts_without_a_name_get_folders_of_their_own(tmp_path, fault, number):
    """By the whole command line, with a task that takes a moment."""
    lay_out(tmp_path)

    def work():
        os.chdir(tmp_path)
        return cli.main(["fake"])

    ended = at_once(number, work, tmp_path)
    assert [one.code for _, one in ended] == [0] * number, ended
    folders = [path for path in (tmp_path / "outputs").iterdir() if path.name.startswith("fake")]
    assert len(folders) == number and {composed.status(path)["state"] for path in folders} == {"done"}
    assert {composed.status(path)["pid"] for path in folders} == {pid for pid, _ in ended}
    fault("G5", f"{number} starts without a name")


@pytest.mark.parametrize("number", [20, pytest.param(2, marks=pytest.mark.slow)])
def test_of_starts_in_one_folder_one_wins(job, whole, tmp_path, fault, number):
    folder = tmp_path / "run"
    ended = at_once(number, lambda: holding_it_a_while(lambda: composed.main(job, folder)), tmp_path)
    winners = [pid for pid, one in ended if one.code == 0]
    assert len(winners) == 1 and sorted({one.code for _, one in ended}) == [0, 4], ended
    for _, one in ended:
        assert one.code == 0 or f"in use by process {winners[0]}" in one.output.splitlines()[-1], one.output
    assert fingerprint(folder) == whole
    fault("G5", f"{number} starts with one name")


@pytest.mark.parametrize("number", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_of_resumes_at_once_one_wins(job, whole, tmp_path, fault, number):
    folder = tmp_path / "run"

    def work():
        from cnntrain.engine.precision import Precision

        step = Precision.step
        Precision.step = lambda self, count, *args: os.kill(os.getpid(), signal.SIGKILL) if count == 7 else step(self, count, *args)
        return composed.main(job, folder)

    assert forked.run(work, tmp_path / "killed").code == 128 + signal.SIGKILL
    ended = at_once(number, lambda: holding_it_a_while(lambda: cli.main(["resume", f"run={folder}"])), tmp_path)
    winners = [pid for pid, one in ended if one.code == 0]
    assert len(winners) == 1 and sorted({one.code for _, one in ended}) == [0, 4], ended
    assert all(one.code == 0 or f"in use by process {winners[0]}" in one.output for _, one in ended), ended
    assert fingerprint(folder) == whole
    fault("G5", f"{number} resumes at once")


def test_a_resume_of_a_run_that_is_on(job, whole, tmp_path, fault):
    folder = tmp_path / "run"
    child = forked.start(lambda: holding_it_a_while(lambda: composed.main(job, folder)), tmp_path / "log")
    end = time.monotonic() + 30
    while not (folder / "status.json").exists() and time.monotonic() < end:
        time.sleep(0.005)
    second = forked.run(lambda: cli.main(["resume", f"run={folder}"]), tmp_path / "second")
    assert second.code == 4 and f"in use by process {child.pid}" in second.output
    assert child.wait().code == 0 and fingerprint(folder) == whole
    fault("G5", "a resume of a run that is on")


# Who left the lock: what run.lock holds when the next one comes. Only the system's own lock counts.
STALE = {
    "a dead process": lambda: str(dead()),
    "a living process that has nothing to do with it": lambda: "1",
    "its own number": lambda: str(os.getpid()),
    "nothing": lambda: "",
    "no number": lambda: "?\x00",
    "a number of another system": lambda: "9" * 30,
}


def dead() -> int:
    """The number of a process that has ended."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.parametrize("left", STALE)
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path, fault, left):
    (tmp_path / "run.lock").write_text(STALE[left]())
    with Run(tmp_path, config={}):
        assert (tmp_path / "run.lock").read_text() == str(os.getpid())
    fault("G5", f"a stale lock of {left}")


def test_a_lock_of_a_killed_process_is_free_at_once_though_its_children_live(tmp_path, fault):
    """A data worker, say, that outlives the run for a moment."""

    def work():
        with Run(tmp_path, config={}):
            if not os.fork():
                time.sleep(1.0)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked.run(work, tmp_path / "log").code == 128 + signal.SIGKILL
    with Run(tmp_path, config={}):
        pass
    fault("G5", "a lock of a killed process with living children")


def test_the_owner_is_named_even_by_one_that_comes_before_it_could_write_its_number(tmp_path, fault):
    """Between the lock and the number in it: the file holds a number of long ago."""
    import fcntl

    (tmp_path / "run.lock").write_text(str(dead()))
    reading, writing = os.pipe()

    def work():
        with open(tmp_path / "run.lock", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(writing, b"x")
            time.sleep(0.1)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            time.sleep(1.0)

    child = forked.start(work, tmp_path / "log")
    os.read(reading, 1)
    with pytest.raises(CheckpointError, match=f"in use by process {child.pid} "), Lock(tmp_path):
        pass
    child.wait()
    os.close(reading)
    os.close(writing)
    fault("G5", "a lock whose owner has not signed yet")


@pytest.mark.parametrize("name", ["config.yaml", "last.safetensors", "status.json", "multirun.yaml"])
def test_a_folder_with_results_is_not_written_to(job, tmp_path, fault, name):
    create(tmp_path / "run", given=True)
    (tmp_path / "run" / name).write_text("mine")
    ended = forked.run(lambda: composed.main(job, tmp_path / "run"), tmp_path / "log")
    assert ended.code == 4 and re.search("holds a run already.* Fix: ", ended.output)
    assert (tmp_path / "run" / name).read_text() == "mine"
    fault("G5", f"a folder with {name}")


def test_a_folder_that_has_other_things_in_it_may_be_used(job, whole, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    ended = forked.run(partial(composed.main, job, tmp_path / "run"), tmp_path / "log")
    assert ended.code == 0 and fingerprint(tmp_path / "run") == whole
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
