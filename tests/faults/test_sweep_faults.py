"""G6, G7: whatever one job of a sweep does, the others are as if they ran alone; the same command goes on where it was."""

import faulthandler
import os
import re
import shlex
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from fake_verb import lay_out
from faults import composed, forked
from workload import fingerprint

from cnntrain import cli, job
from cnntrain.engine.lock import Lock
from hydra_plugins.cnntrain_launcher import processes

# A user's net that does as it is told when its third epoch begins, as long as the file BROKEN is there.
NET = """\
import os, random, resource, signal, subprocess, sys, time
from functools import partial
from pathlib import Path
import numpy, torch
from torch import nn
from cnntrain.errors import DataError
from cnntrain.units import Count

class Net(nn.Module):
    def __init__(self, *, how: str = "fine", in_channels: Count, num_classes: Count, image_size: Count) -> None:
        super().__init__()
        self.how, self.steps = how, 0
        self.head = nn.Linear(in_channels * image_size**2, num_classes)
        self.drop = nn.Dropout(0.2)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))  # in the checkpoint: it counts on after a resume

    def forward(self, x):
        if self.training:
            self.passes += 1
            Path("order").open("a").write(f"{self.how} {int(self.passes)} {os.getpid()}\\n")
            if int(self.passes) == 7 and Path("BROKEN").exists():
                getattr(self, self.how, lambda: None)()
        return self.head(self.drop(x.flatten(1)))

    def exception(self): raise ValueError("oh no")
    def leave(self): sys.exit(7)
    def kill(self): os.kill(os.getpid(), signal.SIGKILL)
    def crash(self): os.kill(os.getpid(), signal.SIGSEGV)
    def memory(self):
        resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        torch.empty(2**36)
    def diverge(self): self.head.weight.data.fill_(float("nan"))
    def late(self): raise DataError("what nobody could check before", where="here", fix="mend it")
    def hang(self): time.sleep(1000)
    def full(self): subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", os.environ["FULL"]], check=True)
    def leak(self): torch.manual_seed(1); random.seed(1); numpy.random.seed(1); torch.set_flush_denormal(True)
    def wait(self):
        Path(f"{self.how}ing").touch()
        end = time.monotonic() + 60
        while Path("BROKEN").exists() and time.monotonic() < end: time.sleep(0.01)
        time.sleep(1)  # for the signal to come
    wait2 = wait
"""
HOW = ["hang", "exception", "leave", "kill", "crash", "memory", "diverge", "late", "full"]
WORDS = [*composed.DATA, "model=net", "epochs=3", "batch_size=16", "machine.device=cpu", "machine.threads=1", "report.tensorboard=false"]
WORDS += ["checkpoint.every=2it", "sweep.parallel=2"]


def lay_out_net(folder: Path) -> None:
    """A working folder with the user's net."""
    (folder / "conf" / "model").mkdir(parents=True)
    text = "# A net that does as it is told\n_target_: mynets.Net\nhow: fine  # what it does\n"
    (folder / "conf" / "model" / "net.yaml").write_text(text)
    (folder / "mynets.py").write_text(NET)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a job leaves that is run by itself, by ``cnntrain``; what every sweep's parent would import is imported before."""
    composed.composed()
    folder = tmp_path_factory.mktemp("alone")
    lay_out_net(folder)

    def work():
        os.chdir(folder)
        return cli.main([*WORDS[:-1], "hydra.run.dir=run"])

    ended = forked.run(work, folder / "log")
    assert ended.code == 0, ended.output
    return fingerprint(folder / "run")


@pytest.fixture
def place(tmp_path, monkeypatch, alone):
    """A working folder with the user's net."""
    lay_out_net(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*words: str, grace: float = 1.0) -> int:
    """``cnntrain -m WORDS`` in this fork; what does not leave when it is asked to is killed after ``grace`` seconds."""
    processes._GRACE = grace
    faulthandler.disable()  # pytest's, which would write to its terminal
    return cli.main(["-m", *WORDS, *words])


def folder_of(how: str, root: str = "all") -> Path:
    (found,) = Path(root).glob(f"*how={how}")
    return found


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def can_mount(folder: Path) -> bool:
    """Whether a tmpfs can be mounted here."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False).returncode == 0
    return done and subprocess.run(["umount", folder], check=False).returncode == 0


def test_nine_failures_in_one_sweep(place, alone, fault):
    """Each in the midst of training; then the same command again, with what was broken mended."""
    how = [one for one in HOW if one != "full" or can_mount(place / "mountpoint")]
    Path("BROKEN").touch()
    os.environ["FULL"] = f"{place}/all/{len(how)}_how=full"
    words = ["model.how=" + ",".join(["fine", *how, "fine2"]), "hydra.sweep.dir=all"]
    try:
        ended = forked.run(lambda: sweep(*words, "sweep.job_timeout=6"), Path("log"), timeout=120)
        says = {
            "exception": "ValueError: oh no", "leave": "SystemExit: 7", "kill": "killed by SIGKILL", "crash": "killed by SIGSEGV",
            "memory": "Out of memory", "diverge": "diverged", "late": "what nobody could check before", "hang": "job_timeout",
        }  # fmt: skip
        assert ended.code == 7, ended.output
        table = re.search(r"\n +tried +jobs.*", ended.output, re.DOTALL).group()
        for one in how:
            assert re.search(rf"how={one} .*failed", table) and re.search(rf"how={one}: job \d+: \S", table)
            if one != "full":
                assert composed.status(folder_of(one))["state"] in ("failed", "interrupted")
                assert says[one] in (folder_of(one) / "train.log").read_text()
                assert one in ("leave", "kill", "crash", "hang") or lines(folder_of(one) / "console.log")[-1].startswith("error: ")
        assert f"2 of {len(how) + 2} jobs done" in ended.output and "Traceback" not in ended.output
        last = rf"error: {len(how)} of .* jobs failed \(all\)\. Fix: see all/1_how=hang/console.log, then (cnntrain .*)"
        assert re.fullmatch(last, ended.output.rstrip().splitlines()[-1])
    finally:
        if "full" in how:
            subprocess.run(["umount", "--lazy", os.environ["FULL"]], capture_output=True, check=False)
    assert fingerprint(folder_of("fine")) == fingerprint(folder_of("fine2")) == alone

    Path("BROKEN").unlink()
    Path("order").unlink()
    again = forked.run(lambda: sweep(*words), Path("again"), timeout=120)
    assert again.code == 0, again.output
    assert again.output.count("was done already") == 2 and f"{len(how) + 2} of {len(how) + 2} jobs done" in again.output
    for one in how:
        assert fingerprint(folder_of(one)) == alone, one
        assert f"{one} 7 " in Path("order").read_text() and f"{one} 2 " not in Path("order").read_text(), "it began again"
        fault("G6", f"a job: {one}")
    assert len(list(Path("all").glob("*how=*"))) == len(how) + 2


def started(folder: str, *words: str) -> forked.Child:
    """A sweep of two jobs, up to where both are in the midst of training."""
    Path("BROKEN").touch()

    def slow() -> int:
        from cnntrain.engine import checkpoint

        write, parent = checkpoint.write_whole, os.getpid()

        def waiting(*args, **keys):
            if os.getppid() != parent:
                time.sleep(2.0)  # the sweep has been killed: the next one begins while its jobs are saving yet
            return write(*args, **keys)

        checkpoint.write_whole = waiting
        return sweep("model.how=wait,wait2", *words, grace=20)

    child = forked.start(slow, Path(f"{folder}.log"))
    end = time.monotonic() + 60
    while not (Path("waiting").exists() and Path("wait2ing").exists()) and time.monotonic() < end:
        time.sleep(0.01)
    Path("BROKEN").unlink()
    return child


def resumed(command: list[str]) -> str:
    """Run a command line here, in this fork's own way, to a good end; what it said."""
    assert command[:1] == ["cnntrain"]
    ended = forked.run(lambda: cli.main(command[1:]), Path("resumed.log"))
    assert ended.code == 0, ended.output
    return ended.output


SLOW = [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, *SLOW], ids=lambda number: number.name)
def test_a_sweep_that_is_ended_goes_on(place, alone, fault, number):
    """Its jobs save and stop; what its last line says, at once and as it stands, goes on with them, to the same bits."""
    child = started("sweep")
    child.send(number)
    ended = child.wait()
    assert ended.code == 128 + number and "Traceback" not in ended.output, ended.output
    (folder,) = Path("outputs").glob("*/*_sweep")
    if number == signal.SIGKILL:
        command = f"cnntrain -m {' '.join(WORDS)} model.how=wait,wait2 sweep.resume=true"
    else:
        last = ended.output.rstrip().splitlines()[-1]
        command = re.fullmatch(rf"error: {number.name} stopped the sweep \({folder}\)\. Fix: (cnntrain .* sweep\.resume=true)", last)[1]
        assert {composed.status(path)["state"] for path in folder.glob("*how=wait*")} == {"interrupted"}
    said = resumed(shlex.split(command))
    assert "2 of 2 jobs done" in said and said.count("note: ") == 0
    assert [path.name for path in sorted(folder.glob("*how=*"))] == ["0_how=wait", "1_how=wait2"]
    assert {fingerprint(path) for path in folder.glob("*how=*")} == {alone}
    assert all("resumed  from step" in (path / "console.log").read_text() for path in folder.glob("*how=*"))
    assert list(Path("outputs").glob("*/*_sweep*")) == [folder]
    fault("G7", f"{number.name} to a sweep")


def test_a_second_ctrl_c_leaves_the_jobs_to_themselves(place, alone, fault):
    """The sweep ends at once, its jobs save and end by themselves."""
    child = started("sweep")
    child.send(signal.SIGINT)
    time.sleep(0.05)
    child.send(signal.SIGINT)
    assert child.wait().code == 130
    (folder,) = Path("outputs").glob("*/*_sweep")
    end = time.monotonic() + 30
    while {composed.status(path)["state"] for path in folder.glob("*how=*")} != {"interrupted"} and time.monotonic() < end:
        time.sleep(0.02)
    assert {composed.status(path)["state"] for path in folder.glob("*how=*")} == {"interrupted"}
    fault("G7", "a second Ctrl-C")


def test_two_sweeps_in_one_folder(tmp_path, monkeypatch, fault):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["fake", "-m", "how=hang,fine", "hydra.sweep.dir=all"]
    child = forked.start(lambda: cli.main(words), Path("log"))
    end = time.monotonic() + 60
    while not Path("all/0_how=hang/status.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    second = forked.run(lambda: cli.main(words), Path("second"))
    assert second.code == 4 and f"in use by process {child.pid}" in second.output
    child.send(signal.SIGINT)
    assert child.wait().code == 130
    fault("G7", "two sweeps in one folder")


def test_a_job_that_is_on_by_itself_is_not_run_twice(tmp_path, fault, monkeypatch):
    """A sweep whose job is held by another process says so for that job alone."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_PATIENCE", 0.1)
    words = ["fake", "-m", "x=0.1,0.2", "hydra.sweep.dir=all"]
    first = forked.run(lambda: cli.main(words), Path("log"))
    assert first.code == 0, first.output
    held = Path("all/0_x=0.1")
    (held / "status.json").unlink()
    with Lock(held):
        again = forked.run(lambda: cli.main(words), Path("again"))
    assert again.code == 7 and "x=0.1: job 0: " in again.output and f"in use by process {os.getpid()}" in again.output
    assert "1 of 2 jobs done" in again.output
    fault("G7", "a job whose folder is held")


@pytest.mark.parametrize("order", ["leak,fine", pytest.param("fine,leak", marks=pytest.mark.slow)])
def test_neither_order_nor_neighbours_matter(place, alone, fault, order):
    """One job leaves its process in disorder; they run one after the other."""
    Path("BROKEN").touch()
    ended = forked.run(partial(sweep, f"model.how={order}", "sweep.parallel=1", "hydra.sweep.dir=all"), Path("log"))
    assert ended.code == 0, ended.output
    assert fingerprint(folder_of("fine")) == alone
    fault("G6", f"order of jobs: {order}")


def test_sweep_resume_takes_the_newest_sweep_of_the_same_command(tmp_path, monkeypatch, fault):
    lay_out(tmp_path)
    verb = tmp_path / "conf" / "fake.yaml"
    verb.write_text(verb.read_text().replace("outputs/sweep", "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}_sweep"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> set[str]:
        """The folders that a sweep adds."""
        before = set(Path("outputs").glob("*/*_sweep*"))
        Path("log").unlink(missing_ok=True)
        ended = forked.run(lambda: cli.main(["fake", "-m", *words]), Path("log"))
        assert ended.code == 0, ended.output
        said.append(ended.output)
        return {str(path) for path in set(Path("outputs").glob("*/*_sweep*")) - before}

    said: list[str] = []
    first = run("x=0.1,0.2", "sweep.resume=true")
    assert len(first) == 1 and "done already" not in said[-1], "there was none: it is a new one"
    others = ("[damaged", '{"verb": "fake", "words": ["x=0.1,0.3"], "started": 1e12}', '{"verb": "fake", "words": ["x=0.1,0.2"]}')
    for number, text in enumerate(others):
        newer = Path(f"outputs/2999-12-31/00-00-0{number}_sweep")
        newer.mkdir(parents=True)
        (newer / "sweep.json").write_text(text)
    assert run("x=0.1,0.2", "sweep.resume=true", "sweep.parallel=2") == set()
    assert said[-1].count("was done already") == 2 and f"2 of 2 jobs done · {next(iter(first))}" in said[-1]
    assert len(run("x=0.3,0.1", "sweep.resume=true")) == 1, "other words are another sweep"
    fault("G6", "sweep.resume=true among other and damaged sweeps")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_jobs_in_fresh_interpreters_end_with_their_sweep_and_go_on(place, alone, fault, number):
    """``hydra.launcher.start=fresh``: no fork, so the job itself asks the system to be told of its parent's end."""
    child = started("sweep", "hydra.launcher.start=fresh")
    child.send(number)
    assert child.wait().code == 128 + number
    (folder,) = Path("outputs").glob("*/*_sweep")
    end = time.monotonic() + 60
    while {composed.status(path)["state"] for path in folder.glob("*how=*")} != {"interrupted"} and time.monotonic() < end:
        time.sleep(0.05)
    resumed(["cnntrain", "-m", *WORDS, "model.how=wait,wait2", "sweep.resume=true", "hydra.launcher.start=fresh"])
    assert {fingerprint(path) for path in folder.glob("*how=*")} == {alone}
    fault("G7", f"{number.name} to a sweep of fresh interpreters")
