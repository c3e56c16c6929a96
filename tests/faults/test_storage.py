"""B: disks that are full, read-only, gone or not ours; clocks that jump; names that no shell likes."""

import ast
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import workload
from data.pictures import make_folder
from faults import forked
from torch import nn

import cnntrain
from cnntrain import cli
from cnntrain.config import compose, find
from cnntrain.config.recipe import check
from cnntrain.engine import checkpoint
from cnntrain.engine.average import Ema, NoAverage
from cnntrain.engine.board import Board
from cnntrain.engine.run import Run
from cnntrain.engine.space import checkpoint_bytes
from cnntrain.engine.state import State
from cnntrain.engine.stopping import stopping
from cnntrain.errors import CheckpointError

SMALL = (
    "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=203 data.test_samples=60 data.classes=4 epochs=2 "
    "batch_size=16 machine.threads=1 report.progress=lines"
).split()
FULL = "No space left on device"


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing for a test: {done.stderr.strip()}")


def unmount(folder):
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path):
    """A disk of so many bytes (a tmpfs), mounted on a folder of its own."""
    mounted = []

    def make(size, name="disk"):
        folder = tmp_path / name
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}", "cnntrain-test", folder)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        unmount(folder)


def fill(folder):
    """Leave no byte free there."""
    with contextlib.suppress(OSError), open(folder / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def status(folder):
    return json.loads((folder / "status.json").read_text())


def command(*words):
    """The whole command in this process: its exit code, and how long it took."""
    start = time.monotonic()
    return cli.main(list(words)), time.monotonic() - start


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A finished run of the tiny command, on a disk with room."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    cli.call("train", *SMALL, "report.tensorboard=false", f"hydra.run.dir={folder}")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of the engine alone."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    workload.train(folder)
    return folder


def same_weights(a, b):
    left, right = (checkpoint.read(folder / "last.safetensors").tensors for folder in (a, b))
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# B1: a disk that is too small, or becomes so


@pytest.mark.parametrize("share", [1.0, 1.5, 2.5, 3.8])
def test_a_disk_too_small_for_the_checkpoints_is_told_before_the_first_step(disk, reference, fault, capsys, share):
    size = (reference / "last.safetensors").stat().st_size
    folder = disk(int(size * share) + 40_000)
    code, seconds = command("train", *SMALL, f"hydra.run.dir={folder}/run")
    last = capsys.readouterr().err.strip().splitlines()[-1]
    needed, free = (float(number) for number in re.findall(r"([\d.]+) MB", last))
    assert code == 4 and seconds < 10 and "Fix: hydra.run.dir=FOLDER on a disk with more room" in last
    assert 4 * size <= needed * 1e6 + 1e5 and needed * 1e6 <= 5.5 * size and free < needed
    assert not list((folder / "run").glob("*.safetensors")) and status(folder / "run")["code"] == 4
    fault("B1", f"a disk of {share} checkpoints")


def test_a_disk_with_room_for_them_is_enough(disk, reference, fault):
    size = (reference / "last.safetensors").stat().st_size
    folder = disk(int(4 * size) + 500_000)
    cli.call("train", *SMALL, "report.tensorboard=false", f"hydra.run.dir={folder}/run")
    assert same_weights(folder / "run", reference)
    # What a finished run holds is room for its own next life.
    fill(folder)
    with open(folder / "ballast", "rb+") as file:
        file.truncate(max((folder / "ballast").stat().st_size - int(2.3 * size) - 150_000, 0))
    cli.call("resume", f"run={folder}/run", "epochs=3")
    assert checkpoint.read(folder / "run/last.safetensors").meta["epoch"] == 3
    fault("B1", "a disk just large enough, resumed on what the run itself holds")


def test_a_resumed_run_without_room_is_told_how_much_to_free(disk, reference, fault):
    size = (reference / "last.safetensors").stat().st_size
    folder = disk(int(4 * size) + 500_000)
    cli.call("train", *SMALL, "report.tensorboard=false", f"hydra.run.dir={folder}/run")
    fill(folder)
    (folder / "run/best.safetensors").unlink()  # whatever it is, less than one checkpoint is free
    fill_up = (folder / "ballast").stat().st_size
    with pytest.raises(CheckpointError, match=r"free [\d.]+ MB there, then cnntrain resume run=|cannot be written") as caught:
        cli.call("resume", f"run={folder}/run", "epochs=3")
    assert caught.value.exit_code == 4 and fill_up
    assert checkpoint.read(folder / "run/last.safetensors").meta["epoch"] == 2
    fault("B1", "a resume on a full disk")


def test_a_disk_that_fills_while_training_loses_nothing(disk, whole, fault):
    folder = disk(400_000)

    def on_step(step):
        if step == 20:
            fill(folder)

    with pytest.raises(CheckpointError, match=f"3 times in a row: {FULL}") as caught:
        workload.train(folder / "run", every="3it", on_step=on_step)
    kept = checkpoint.read(folder / "run/last.safetensors").meta["step"]
    assert caught.value.exit_code == 4 and f"is that of step {kept}" in str(caught.value) and kept >= 17
    assert not list((folder / "run").glob(".tmp-*"))
    (folder / "ballast").unlink()
    workload.train(folder / "run", every="3it")
    assert workload.fingerprint(folder / "run") == workload.fingerprint(whole)
    fault("B1", "a disk that fills in the second epoch and stays full")


def test_a_disk_that_is_full_for_a_while_costs_a_warning(disk, whole, fault, capsys):
    folder = disk(400_000)

    def on_step(step):
        if step == 20:
            fill(folder)
        if step == 40:
            (folder / "ballast").unlink()

    state = workload.train(folder / "run", every=1, on_step=on_step)
    assert state.step == 51 and same_weights(folder / "run", whole)
    assert status(folder / "run")["state"] == "done"
    assert f"checkpoint at step 34 not written safely ({FULL})" in capsys.readouterr().out + (folder / "run/train.log").read_text()
    fault("B1", "a disk that is full for an epoch")


@pytest.mark.parametrize("name", sorted(path.stem for path in (Path(find.folders()[0]) / "optimizer").glob("*.yaml")))
def test_the_size_is_foreseen_for_every_optimizer(tmp_path, name):
    with compose.session(find.folders()):
        tree = compose.Composer("train", find.folders())([f"optimizer={name}", "optimizer.lr=0.01"]).tree["optimizer"]
    for average in (NoAverage, Ema):
        model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 16, 256))
        optimizer = check(tree, place="optimizer")(params=[{"params": list(model.parameters()), "lr_scale": 1.0}])
        scaler, judge = torch.amp.GradScaler("cpu", enabled=False), stopping(larger_is_better=True)
        state = State(
            model=model, optimizer=optimizer, average=average(model=model), scaler=scaler, judge=judge, means={"loss": "loss_sum"}
        )
        weights = [value.clone() for value in model.parameters()]
        foreseen, begun = checkpoint_bytes(state), len(optimizer.state)
        assert len(optimizer.state) == begun and all(map(torch.equal, weights, model.parameters()))  # nothing has stepped
        model(torch.randn(4, 3, 8, 8)).sum().backward()
        optimizer.step()
        checkpoint.write(tmp_path / "a.safetensors", state.tensors(), state.counters())
        size = (tmp_path / "a.safetensors").stat().st_size
        assert size <= foreseen <= size + 50_000


# B2: what is written beside the checkpoints


@pytest.mark.parametrize("trouble", ["full from the start", "full later", "removed"])
def test_no_tensorboard_is_no_reason_to_lose_a_training(disk, tmp_path, reference, fault, monkeypatch, capfd, trouble):
    events = disk(300_000)

    class Elsewhere(Board):
        """Its events alone lie on the small disk."""

        def __init__(self, folder, **given):
            super().__init__(events / "board", **given)

        def scalars(self, row, step):
            if trouble == "full later" and step == 12:
                fill(events)
            if trouble == "removed" and step >= 12:
                shutil.rmtree(events / "board", ignore_errors=True)
            super().scalars(row, step)

    if trouble == "full from the start":
        fill(events)
    monkeypatch.setattr("cnntrain.engine.report.Board", Elsewhere)
    result = cli.call("train", *SMALL, "report.histograms=true", f"hydra.run.dir={tmp_path}/run")
    told = capfd.readouterr()
    assert result["metrics"] and status(tmp_path / "run")["state"] == "done" and same_weights(tmp_path / "run", reference)
    assert "Traceback" not in told.err
    reason = "No such file or directory" if trouble == "removed" else FULL
    assert told.out.count(f"({reason}): the run goes on without") == 1
    fault("B2", f"TensorBoard's disk {trouble}")


def test_no_log_is_no_reason_to_lose_a_training(tmp_path, whole, fault):
    for name, target in (("full", "/dev/full"), ("gone", tmp_path / "nowhere/train.log"), ("folder", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train.log").mkdir() if target is None else (folder / "train.log").symlink_to(target)
        workload.train(folder)
        assert workload.fingerprint(folder) == workload.fingerprint(whole) and status(folder)["state"] == "done"
        fault("B2", f"train.log is {name}")


def test_a_log_that_cannot_be_written_is_told_once(tmp_path, fault, monkeypatch, capsys):
    monkeypatch.setattr("cnntrain.engine.run.Run.log", lambda run, text: FULL)
    cli.call("train", *SMALL, "epochs=1", "report.tensorboard=false", f"hydra.run.dir={tmp_path}/run")
    assert capsys.readouterr().out.count(f"train.log cannot be written ({FULL})") == 1
    fault("B2", "train.log on a full disk, told once")


# B3: a folder for the run that is none


def never(kind, place, disk):
    """A folder in which nothing can be made, and a word of why."""
    if kind == "read-only":
        (place / "source").mkdir()
        (place / "bound").mkdir()
        mount("--bind", place / "source", place / "bound")
        mount("-o", "remount,bind,ro", place / "bound")
        return place / "bound/run", "Read-only file system"
    if kind == "a file":
        (place / "file").write_text("mine")
        return place / "file", "File exists"
    if kind == "below a file":
        (place / "file").write_text("mine")
        return place / "file/run", "File exists"
    if kind == "a dangling link":
        (place / "link").symlink_to(place / "nowhere")
        return place / "link", "File exists"
    if kind == "a link to itself":
        (place / "loop").symlink_to(place / "loop")
        return place / "loop/run", "File exists"
    if kind == "of 300 bytes":
        return place / ("n" * 300), "File name too long"
    if kind == "a path of 5,000 bytes":
        return place.joinpath(*["d" * 200] * 25), "File name too long"
    if kind == "without inodes":
        folder = place / "inodes"
        folder.mkdir()
        mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=1", "cnntrain-test", folder)
        return folder / "run", FULL
    (place / "flagged").mkdir()
    if subprocess.run(["chattr", "+i", place / "flagged"], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable folder")
    return place / "flagged/run", "Operation not permitted"


@pytest.mark.parametrize(
    "kind",
    ["read-only", "immutable", "a file", "below a file", "a dangling link", "a link to itself", "of 300 bytes", "a path of 5,000 bytes",
     "without inodes"],
)  # fmt: skip
def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path, disk, fault, capsys, kind):
    try:
        folder, reason = never(kind, tmp_path, disk)
        code, seconds = command("train", *SMALL, f"hydra.run.dir='{folder}'")
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert code == 4 and seconds < 10 and last.startswith("error: ") and "Fix: hydra.run.dir=" in last
        assert reason in last and str(folder)[:60] in last
    finally:
        unmount(tmp_path / "bound")
        unmount(tmp_path / "inodes")
        subprocess.run(["chattr", "-i", tmp_path / "flagged"], capture_output=True, check=False)
    fault("B3", f"hydra.run.dir {kind}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights up")
@pytest.mark.parametrize("what", ["the folder", "a run to resume", "a checkpoint"])
def test_what_is_not_ours_is_told(tmp_path, reference, fault, what):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    run = theirs / "run"
    shutil.copytree(reference, run)
    (run / "best.safetensors").chmod(0o600)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path("/tmp") or folder == Path("/"):
            break
        folder.chmod(0o755)

    def work():
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        if what == "the folder":
            return cli.main(["train", *SMALL, f"hydra.run.dir={theirs}/new"])
        if what == "a run to resume":
            return cli.main(["resume", f"run={run}", "epochs=3"])
        return cli.main(["evaluate", f"checkpoint={run}/best.safetensors"])

    ended = forked.run(work, tmp_path / "console")
    last = ended.output.strip().splitlines()[-1]
    assert ended.code == 4 and last.startswith("error: ") and "Permission denied" in last and str(theirs) in last
    fault("B3", f"not ours: {what}")


@pytest.mark.parametrize("trouble", ["unmounted", "read-only", "removed"])
def test_a_disk_that_goes_away_while_training_ends_the_run_with_its_name(disk, tmp_path, fault, trouble):
    folder = disk(400_000) if trouble != "removed" else tmp_path / "plain"
    (folder / "run").mkdir(parents=True)

    def on_step(step):
        if step == 20 and trouble == "unmounted":
            unmount(folder)
        elif step == 20 and trouble == "read-only":
            mount("-o", "remount,ro", folder)
        elif step == 20:
            shutil.rmtree(folder / "run")

    with pytest.raises(CheckpointError, match="No such file or directory|Read-only file system") as caught:
        workload.train(folder / "run", every="3it", on_step=on_step)
    assert caught.value.exit_code == 4 and str(folder / "run") in str(caught.value)
    if trouble == "read-only":
        assert checkpoint.read(folder / "run/last.safetensors").meta["step"] >= 17
    fault("B3", f"mid-run: {trouble}")


# B4: clocks


@pytest.mark.parametrize(
    ("name", "jump"), [("back a day", -86_400), ("forward a year", 31_536_000), ("summer time", 3_600), ("to 1970", -1_700_000_000)]
)
def test_a_clock_that_is_set_changes_nothing(tmp_path, whole, fault, monkeypatch, name, jump):
    real, moved = time.time, 0.0

    def on_step(step):
        nonlocal moved
        if step == 20:
            moved = jump

    monkeypatch.setattr(time, "time", lambda: real() + moved)
    folder = tmp_path / "run"
    with pytest.raises(workload.Killed):
        workload.train(folder, every="9it", minutes=0.05, on_step=on_step, kill_at=30)
    workload.train(folder, every="9it", minutes=0.05, on_step=on_step)
    assert workload.fingerprint(folder) == workload.fingerprint(whole)
    assert 0 <= status(folder)["seconds"] < 600
    speeds = [json.loads(line).get("speed/images_per_second", 1) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert min(speeds) > 0
    fault("B4", f"the clock is set {name}")


def test_the_newest_is_that_of_the_most_steps_whatever_the_files_times_say(tmp_path, fault):
    with pytest.raises(workload.Killed):
        workload.train(tmp_path / "run", every="1it", kill_at=20)  # many saves within a second
    last, previous = (tmp_path / f"run/{name}.safetensors" for name in ("last", "previous"))
    os.utime(last, (0, 0))
    os.utime(previous, (4e9, 4e9))
    found, remarks = checkpoint.read_newest(tmp_path / "run")
    assert found.meta["step"] == 20 and not remarks
    assert checkpoint.read(previous).meta["step"] == 19
    fault("B4", "times of files that say the opposite")
    fault("B4", "many saves in one second")


def test_durations_come_from_the_monotonic_clock():
    """The wall clock dates the log's lines and TensorBoard's events; nothing is measured by it."""
    for path in sorted(Path(cnntrain.__file__).parent.rglob("*.py")):
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)}
        dates = path.name == "sweep.py"  # when a sweep was started, to know it again
        assert dates or not calls & {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now"}, path


# B5: locales and names

NAMES = [
    "ünï 猫",
    "two words",
    "%s",
    "new\nline",
    "-dash",
    "a'quote\"",
    "#hash",
    "$HOME",
    "ключ=значение",
    "[list]",
    "{brace}",
    "~tilde",
    "*",
]
RUNS = ["ünï 猫", "%s {brace}", "new\nline", "-dash", "~a'quote\"*$HOME"]
FOLDER = (
    "model=lenet5 data=folder data.image_size=16 data.cache=cache batch_size=8 epochs=1 machine.threads=1 report.progress=lines "
    "report.tensorboard=false"
).split()


@pytest.fixture(scope="module")
def odd_pictures(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("odd") / "dätä of 猫", dict.fromkeys(NAMES, 6), size=16)


def test_classes_and_folders_may_be_called_anything(tmp_path, monkeypatch, fault, odd_pictures):
    monkeypatch.chdir(tmp_path)
    weights = set()
    for name in RUNS:
        folder = Path("runs", name)
        cli.call("train", *FOLDER, **{"data.root": str(odd_pictures), "hydra.run.dir": str(folder), "report.tensorboard": name == RUNS[0]})
        weights.add(checkpoint.read(folder / "last.safetensors").tensors["model.fc1.weight"].numpy().tobytes())
        fault("B5", f"a run's folder called {name!r}")
    assert len(weights) == 1
    assert sorted(checkpoint.read(Path("runs", RUNS[0], "best.safetensors")).meta["classes"]) == sorted(NAMES)
    for name in NAMES:
        fault("B5", f"a class called {name!r}")


def test_a_command_that_is_advised_works_as_it_stands(tmp_path, monkeypatch, fault, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("two wörds 猫", "it's"):
        cli.call("train", *SMALL, "epochs=1", **{"hydra.run.dir": f"runs/{name}"})
        advised = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("cnntrain evaluate")]
        assert cli.main(shlex.split(advised[0])[1:]) == 0
        assert cli.main(shlex.split(Run(Path("runs", name), config={}).resume_command)[1:]) == 0
        assert "already done" in capsys.readouterr().out
        fault("B5", f"advice for a run called {name!r}")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("C", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        pytest.param("tr_TR", {"LC_ALL": "tr_TR", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow),
        pytest.param("de_DE", {"LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"}, marks=pytest.mark.slow),
    ],
)
def test_in_any_locale_the_files_are_the_same(tmp_path, monkeypatch, fault, odd_pictures, name, given):
    """The whole command, also where the system says that all is ASCII."""
    monkeypatch.chdir(tmp_path)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    folder = tmp_path / "ünï 猫" / name
    words = [f"data.root='{odd_pictures}'", f"hydra.run.dir='{folder}'"]
    done = subprocess.run([sys.executable, "-m", "cnntrain", *FOLDER, *words], env={**plain, **given}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    cli.call("train", *FOLDER, **{"data.root": str(odd_pictures), "hydra.run.dir": "here"})
    assert same_weights(folder, Path("here"))
    theirs, ours = (checkpoint.read(place / "last.safetensors").meta for place in (folder, Path("here")))
    assert theirs["classes"] == ours["classes"] and sorted(ours["classes"]) == sorted(NAMES) and theirs["mean"] == ours["mean"]
    assert rows(folder) == rows(Path("here"))
    fault("B5", f"locale {name}")


def rows(folder):
    """The metrics, but for those of the wall clock."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if not key.startswith("speed/")} for line in lines]


def test_text_files_have_one_encoding_in_every_locale():
    """Whatever is opened as text says which encoding it is in; JSON that we have written ourselves is ASCII."""
    for path in sorted(Path(cnntrain.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "open" and len(node.args) + len(node.keywords) > 0:
                mode = next((ast.unparse(word.value) for word in node.keywords if word.arg == "mode"), None)
                mode = mode or (ast.unparse(node.args[1]) if len(node.args) > 1 else "'r'")
                said = any(word.arg == "encoding" for word in node.keywords)
                assert "b" in mode or said or path.name in ("streams.py", "lock.py", "storage.py"), f"{path}:{node.lineno}"
