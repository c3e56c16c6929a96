"""G1, G2: signals anywhere in a run, and terminals of all kinds: what was done is saved, and the result is that of an undisturbed run."""

import os
import pkgutil
import pty
import re
import select
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from faults import composed, forked
from workload import fingerprint

from cnntrain import cli
from cnntrain.engine import checkpoint
from cnntrain.engine.checkpoint import read, read_newest
from cnntrain.engine.signals import Signals

LEAVE = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SIGNALS = [*LEAVE, signal.SIGUSR1]
# Where a signal comes: what is replaced by itself after a signal, at which of its calls, and the step whose state is then on disk.
PLACES = {
    "start-up": ("cnntrain.engine.machine.Machine", "place", 1, None),
    "first batch": ("cnntrain.engine.report.Report", "first_batch", 1, 1),
    "mid-epoch": ("cnntrain.engine.precision.Precision", "step", 8, 8),
    "checkpoint": ("cnntrain.engine.checkpoint", "write_whole", 1, 6),
    "validation": ("cnntrain.task.train", "evaluate", 1, 5),
    "LR test": ("cnntrain.task.lr_find", "range_test", 1, None),
    "plotting": ("cnntrain.engine.board.Board", "confusion", 1, 10),
    "shutdown": ("cnntrain.engine.run.Run", "__exit__", 1, 10),
}


@pytest.fixture(scope="module")
def jobs():
    """The small run, the one with TensorBoard's pictures, and the one with a range test before it (a short one)."""
    quiet = ("report.progress=lines", "report.tensorboard=false")
    return {
        "": composed.composed(*quiet),
        "plotting": composed.composed("report.progress=lines"),
        "LR test": composed.composed(*quiet, "optimizer.lr=auto"),
    }


@pytest.fixture(scope="module")
def whole(jobs, tmp_path_factory):
    """What the run leaves when nobody disturbs it, with and without a range test."""
    found = {}
    for place in ("", "LR test"):
        folder = tmp_path_factory.mktemp("whole") / "run"
        ended = forked.run(partial(with_a_short_range_test, partial(composed.main, jobs[place], folder)), folder.parent / "log")
        assert ended.code == 0, ended.output
        found[place] = fingerprint(folder)
    return found


@pytest.fixture(scope="module")
def shown():
    """The states from which a resume has been shown to be exact; their hash decides the rest."""
    return set()


def with_a_short_range_test(work):
    from cnntrain.task import lr_find

    lr_find.FEWEST = lr_find.MOST = 30
    return work()


def before_call(place: str, name: str, count: int, act) -> None:
    """From now on, the ``count``-th call of a product function does ``act()`` first."""
    home = pkgutil.resolve_name(place)
    original, calls = getattr(home, name), [0]

    def acting(*args, **keys):
        calls[0] += 1
        if calls[0] == count:
            act()
        return original(*args, **keys)

    setattr(home, name, acting)


def told(output: str) -> str:
    """The last line, once it is as the contract has it and no traceback stands before it."""
    assert "Traceback" not in output and "Exception ignored" not in output
    line = output.rstrip("\n").splitlines()[-1]
    assert re.fullmatch(r"error: [^\n]+\. Fix: \S[^\n]+", line), output
    return line


def resumes_to(job, folder: Path, expected: str) -> str:
    again = forked.run(lambda: with_a_short_range_test(lambda: composed.main(job, folder, again=True)), folder.parent / "again")
    assert again.code == 0, again.output
    assert composed.status(folder)["state"] == "done" and fingerprint(folder) == expected
    return again.output


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_anywhere(jobs, whole, shown, tmp_path, fault, place, number):
    home, name, count, step = PLACES[place]
    job, folder, expected = jobs.get(place, jobs[""]), tmp_path / "run", whole.get(place, whole[""])

    def work():
        before_call(home, name, count, lambda: os.kill(os.getpid(), number))
        return with_a_short_range_test(lambda: composed.main(job, folder))

    ended = forked.run(work, tmp_path / "log")
    if number == signal.SIGUSR1:
        assert ended.code == 0 and "error" not in ended.output, ended.output
        assert fingerprint(folder) == expected
    else:
        assert ended.code == 128 + number, ended.output
        line = told(ended.output)
        assert line.startswith(f"error: {number.name} stopped the run") or place == "shutdown"
        assert line.endswith((f"Fix: cnntrain resume run={folder}", "Fix: start it again"))
        assert composed.status(folder)["state"] == "interrupted" or place == "shutdown"
        newest = read_newest(folder)[0]
        assert (newest and newest.meta["step"]) == step
        state = (place, newest and fingerprint(folder))
        if state not in shown:
            resumes_to(job, folder, expected)
            shown.add(state)
    fault("G1", f"{number.name} at {place}")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_before_anything_is_begun_leaves_nothing(jobs, whole, tmp_path, fault, number):
    folder = tmp_path / "run"

    def work():
        before_call("cnntrain.engine.storage", "write_config", 1, lambda: os.kill(os.getpid(), number))
        return composed.main(jobs[""], folder)

    ended = forked.run(work, tmp_path / "log")
    if number == signal.SIGUSR1:
        assert ended.code == 0 and fingerprint(folder) == whole[""], ended.output
    else:
        assert ended.code == 128 + number and told(ended.output) == f"error: stopped by {number.name}. Fix: start it again"
        assert not folder.exists()
    fault("G1", f"{number.name} before the run is begun")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT], ids=["nohup", "&"])
def test_a_signal_that_whoever_started_us_ignores_is_ignored(jobs, whole, tmp_path, fault, number):
    """``nohup`` ignores SIGHUP for its command, a shell's ``&`` SIGINT."""

    def work():
        signal.signal(number, signal.SIG_IGN)
        before_call(*PLACES["mid-epoch"][:3], lambda: os.kill(os.getpid(), number))
        return composed.main(jobs[""], tmp_path / "run")

    ended = forked.run(work, tmp_path / "log")
    assert ended.code == 0 and fingerprint(tmp_path / "run") == whole[""], ended.output
    fault("G1", f"an ignored {number.name}")


def test_a_range_test_by_itself_that_is_stopped_can_be_resumed(tmp_path, monkeypatch, fault):
    """As its last line says."""
    monkeypatch.chdir(tmp_path)

    def work():
        before_call(*PLACES["LR test"][:3], lambda: os.kill(os.getpid(), signal.SIGTERM))
        return cli.main(["lr_find", *composed.DATA, "model=lenet5", "machine.threads=1", "steps=20it", "hydra.run.dir=found"])

    ended = forked.run(work, tmp_path / "log")
    assert ended.code == 143 and told(ended.output).endswith("Fix: cnntrain resume run=found")
    again = forked.run(lambda: cli.main(["resume", "run=found"]), tmp_path / "again")
    assert again.code == 0 and composed.status(Path("found"))["state"] == "done", again.output
    fault("G1", "SIGTERM to lr_find")


@pytest.mark.parametrize("life", [*range(3), *(pytest.param(life, marks=pytest.mark.slow) for life in range(3, 160))])
def test_signals_at_random_times(jobs, whole, tmp_path, fault, chance, life):
    """From outside, not between two lines of ours; as often as the run can be stopped, and it goes on after each."""
    folder, number, begun = tmp_path / "run", chance.choice(LEAVE), tmp_path / "begun"

    def work(again: bool) -> int:
        before_call("cnntrain.cli", "take_apart", 1, begun.touch)  # before that, it is Python itself that a signal meets
        return composed.main(jobs[""], folder, again=again)

    for again in range(3):
        child = forked.start(partial(work, again > 0), tmp_path / f"log{again}")
        while not begun.exists():
            time.sleep(0.001)
        begun.unlink()
        time.sleep(chance.uniform(0.0, 0.4))
        if chance.random() < 0.5 and (folder / "status.json").exists() and composed.status(folder).get("pid") == child.pid:
            child.send(signal.SIGUSR1)  # (before Python runs anything of ours, it would end it)
        child.send(number)
        ended = child.wait()
        if not folder.exists() or ended.code == 0:
            break
        assert ended.code == 128 + number, ended.output
        if ended.output:  # it may have come before or after all that is ours
            told(ended.output)
    resumes = (folder / "config.yaml").exists()
    ended = forked.run(lambda: composed.main(jobs[""], folder, again=resumes), tmp_path / "last")
    assert ended.code == 0 and fingerprint(folder) == whole[""], ended.output
    fault("G1", f"{number.name} at random times")


def test_a_second_ctrl_c_while_saving_leaves_at_once_and_the_old_checkpoint_is_good(jobs, whole, tmp_path, fault):
    folder = tmp_path / "run"

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        assert read(folder / "last.safetensors").meta["step"] == 5
        os.kill(os.getpid(), signal.SIGINT)

    def in_the_midst_of_the_second():
        saves, flush = [0], checkpoint._bytes

        def stream(tensor):
            saves[0] += 1
            if saves[0] == 40:
                twice()
            return flush(tensor)

        checkpoint._bytes = stream
        return composed.main(jobs[""], folder)

    ended = forked.run(in_the_midst_of_the_second, tmp_path / "log")
    assert ended.code == 130 and told(ended.output).startswith("error: SIGINT twice: left at once")
    assert told(ended.output).endswith(f"cnntrain resume run={folder}")
    assert read(folder / "last.safetensors").meta["step"] == 5 and list(folder.glob(".tmp-*"))
    resumes_to(jobs[""], folder, whole[""])
    assert not list(folder.glob(".tmp-*"))
    fault("G2", "a second SIGINT while saving")


@pytest.mark.parametrize("first", [None, signal.SIGTERM])
def test_signals_at_every_line_of_leaving_an_evaluation(fault, first):
    """However many come while an evaluation is let go, none of them ends the run before it is saved."""

    def work():
        if first:
            os.kill(os.getpid(), first)
        return "judged"

    def interrupted_at(count: int) -> int:
        """Send a signal at that line; how many lines there were."""
        seen = [0]

        def trace(frame, event, _):
            if frame.f_code.co_name != "unless_asked":
                return None
            if event == "line":
                seen[0] += 1
                if seen[0] == count:
                    os.kill(os.getpid(), signal.SIGHUP)
            return trace

        with Signals() as signals, signals.holding():
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                judged = signals.unless_asked(work)
            finally:
                sys.settrace(before)
            assert judged in (None, "judged") and (signals.pending is not None or judged == "judged")
            os.kill(os.getpid(), signal.SIGTERM)  # while the state is saved: it is noted, no more
        return seen[0]

    lines = interrupted_at(0)
    assert lines >= 5 and [interrupted_at(count) for count in range(1, lines + 1)]
    fault("G1", f"a signal at every line of leaving an evaluation, after {first}")


def test_a_run_that_is_stopped_for_a_while_goes_on(jobs, whole, tmp_path, fault, chance):
    folder = tmp_path / "run"
    child = forked.start(lambda: composed.main(jobs[""], folder), tmp_path / "log")
    time.sleep(chance.uniform(0.05, 0.3))
    child.send(signal.SIGSTOP)
    time.sleep(0.3)
    child.send(signal.SIGCONT)
    ended = child.wait()
    assert ended.code == 0 and fingerprint(folder) == whole[""], ended.output
    fault("G2", "SIGSTOP, then SIGCONT")


def noisily(work):
    """Run ``work`` with what a library writes to descriptors 1 and 2, past Python, in every step."""
    from cnntrain.engine.precision import Precision

    step = Precision.step

    def noisy(self, *args):
        for descriptor in (1, 2):
            try:
                os.write(descriptor, b"NOISE\n")
            except OSError:
                pass
        return step(self, *args)

    Precision.step = noisy
    return work()


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2), *(pytest.param(one, marks=pytest.mark.slow) for one in ((0,), (2,)))], ids=str)
def test_closed_standard_streams(jobs, whole, tmp_path, fault, closed):
    folder = tmp_path / "run"

    def work():
        for descriptor in closed:
            os.close(descriptor)
            setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)  # as Python begins where it is closed
        return noisily(lambda: composed.main(jobs[""], folder))

    ended = forked.run(work, tmp_path / "log")
    assert ended.code == 0 and fingerprint(folder) == whole[""], ended.output
    assert not [path for path in folder.iterdir() if b"NOISE" in path.read_bytes()], "a library wrote into a file of the run"
    fault("G2", f"closed {closed}")


def test_a_reader_that_has_left(jobs, whole, tmp_path, fault):
    folder = tmp_path / "run"

    def work():
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)
        before_call("cnntrain.engine.report.Report", "evaluation", 1, lambda: os.close(reading))
        return composed.main(jobs[""], folder)

    ended = forked.run(work, tmp_path / "log")
    assert ended.code == 0 and fingerprint(folder) == whole[""], ended.output
    fault("G2", "| head -1")


def on_a_terminal(work, environment: dict[str, str], *, at=None) -> tuple[int, str]:
    """Run ``work`` in a fork whose streams are a terminal; ``at``: a word of its output, and the signal to send when it is there."""
    pid, terminal = pty.fork()
    if not pid:
        code = 1
        try:
            os.environ.update(environment)
            sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115
            code = work()
        finally:
            sys.stdout.flush()
            os._exit(code)
    seen, sent, end = b"", False, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 60)[0]:
            break
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if at and not sent and at[0] in seen:
            os.kill(pid, at[1])
            sent = True
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code, seen.decode(errors="replace")


TERMINALS = {
    "TERM=dumb": {"TERM": "dumb"},
    "20 columns": {"TERM": "xterm", "COLUMNS": "20"},
    "a terminal": {"TERM": "xterm-256color"},
    "no TERM": {"TERM": ""},
    "NO_COLOR": {"TERM": "xterm", "NO_COLOR": "1"},
}
OTHERS = list(TERMINALS)[2:]


@pytest.fixture(scope="module")
def live():
    """The small run with its bar."""
    return composed.composed("report.progress=auto", "report.tensorboard=false")


@pytest.mark.parametrize("kind", ["TERM=dumb", "20 columns", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)])
def test_terminals_of_all_kinds(live, whole, tmp_path, fault, kind):
    code, seen = on_a_terminal(lambda: composed.main(live, tmp_path / "run"), TERMINALS[kind])
    assert code == 0 and fingerprint(tmp_path / "run") == whole[""], seen
    assert "validation" in seen or "20" in kind
    assert kind != "TERM=dumb" or "\x1b" not in seen
    fault("G2", kind)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_terminal_is_left_as_it_was(live, whole, tmp_path, fault, number):
    """Also by SIGKILL: nothing may be switched off that only a living process could switch on again."""
    code, seen = on_a_terminal(lambda: composed.main(live, tmp_path / "run"), TERMINALS["a terminal"], at=(b"img/s", number))
    assert code == 128 + number, seen
    assert "\x1b[?25l" not in seen and "\x1b[?1049h" not in seen, "the cursor is hidden, or the screen another"
    if number == signal.SIGINT:
        assert "error: SIGINT stopped the run after step" in seen.rstrip().splitlines()[-1]
    again = forked.run(lambda: composed.main(live, tmp_path / "run", again=True), tmp_path / "again")
    assert again.code == 0 and fingerprint(tmp_path / "run") == whole[""]
    fault("G2", f"{number.name} while the bar is shown")


def test_a_terminal_is_left_as_it_was_by_what_comes_before_training(monkeypatch, fault):
    """Downloading and decoding have bars of their own."""
    from cnntrain.data import progress

    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def work():
        with progress.progress("decoding", 10) as advance:
            advance(1)
            advance(1)
            os.kill(os.getpid(), signal.SIGKILL)

    code, seen = on_a_terminal(work, {"TERM": "xterm"})
    assert code == 128 + signal.SIGKILL and "decoding" in seen and "\x1b[?25l" not in seen
    fault("G2", "SIGKILL while decoding shows its bar")


@pytest.mark.parametrize("number", [SIGNALS[0], *(pytest.param(number, marks=pytest.mark.slow) for number in SIGNALS[1:])])
def test_the_real_command(jobs, whole, tmp_path, fault, number):
    """As a user has it: a new process, a real signal from another one."""
    command = [sys.executable, "-m", "cnntrain", *composed.SMALL, "hydra.run.dir=run", "report.progress=lines"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "epoch 1/2" in line:
            process.send_signal(number)
            break
    process.stdout.read()
    error = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    code = process.wait(60)
    if number != signal.SIGUSR1 and code:  # the whole run takes a moment: it may have come after the end
        assert code == 128 + number and told(error).endswith("Fix: cnntrain resume run=run")
    resumes_to(jobs[""], tmp_path / "run", whole[""])
    fault("G1", f"{number.name} to the real command")
