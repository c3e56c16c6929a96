"""Resuming with something changed, or where nothing is left to resume: exact, or refused with what to do instead."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from data.pictures import make_folder, save
from faults import forked
from faults.disk import room
from faults.remains import everything, leftovers

from cnntrain import cli
from cnntrain.engine import checkpoint
from cnntrain.errors import CheckpointError, CnntrainError, ConfigError, DataError

SMALL = (
    "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=60 data.test_samples=20 data.classes=3 epochs=3 "
    "batch_size=16 machine.threads=1 report.progress=off report.tensorboard=false checkpoint.every=2it"
).split()  # 54 samples to train on, four steps an epoch
FOLDER = (
    "model=lenet5 data=folder data.root=pets data.image_size=16 data.cache=cache data.mean=[0.5,0.5,0.5] data.std=[0.2,0.2,0.2] "
    "batch_size=4 epochs=2 machine.threads=1 report.progress=off report.tensorboard=false checkpoint.every=2it"
).split()


class Left(BaseException):
    """The run ends here, as by a SIGKILL: nothing is saved any more."""


@pytest.fixture
def folders(monkeypatch):
    with room() as folder:
        monkeypatch.chdir(folder)
        yield folder


def left_at(step: int, *words: str, run: str = "run") -> None:
    """A run that has got no further than a step."""
    from cnntrain.engine.state import State

    real = State.advance

    def advance(self, stats):
        real(self, stats)
        if self.step == step:
            raise Left

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "advance", advance)
        with pytest.raises(Left):
            cli.call("train", *words, f"hydra.run.dir={run}")
    status = Path(run, "status.json")
    status.write_text(status.read_text().replace('"failed"', '"running"'))


@pytest.fixture(scope="module")
def runs():
    """The undisturbed run of SMALL, and two that were left at steps 6 and 10."""
    with room() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cli.call("train", *SMALL, "hydra.run.dir=whole")
        for step in (6, 10):
            left_at(step, *SMALL, run=f"left{step}")
        yield folder


@pytest.fixture
def whole(folders, runs):
    """All that the undisturbed run leaves; a copy of it stands in ``whole``."""
    shutil.copytree(runs / "whole", folders / "whole")
    return everything(folders / "whole")


def take(runs: Path, name: str, run: str = "run") -> None:
    """A copy of one of the ``runs``."""
    shutil.copytree(runs / name, run)


EXACT = ["checkpoint.every=1it", "checkpoint.minutes=0", "report.every=10it", "report.histograms=true", "machine.device=cpu", "debug=true"]
REFUSED = [
    "batch_size=8", "seed=1", "data.samples=70", "data.classes=4", "data.image_size=20", "data.val=0.2", "data.mean=[0.3]",
    "model.activation=tanh", "model.pool=average", "tta=mirror", "optimizer.momentum=0.0", "optimizer.lr=auto", "epochs=1", "epochs=2it",
]  # fmt: skip
OTHER_GROUP = ["model=simple_convnet", "data=digits", "optimizer=adam", "schedule=cosine", "average=ema", "loss=mse", "augment=[flip]"]


def test_what_changes_nothing_in_the_result_is_exact(folders, fault, runs, whole):
    for number, word in enumerate(EXACT):
        run = f"run{number}"
        take(runs, "left6", run)
        cli.call("resume", f"run={run}", word)
        assert everything(Path(run)) == whole and not leftovers(Path(run)), word
        fault("A8", f"resume with {word}: exact")


def test_what_would_mix_two_runs_is_refused_with_the_way_out(folders, fault, runs):
    take(runs, "left10")
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    for word in REFUSED + OTHER_GROUP:
        key, _, value = word.partition("=")
        with pytest.raises(ConfigError) as refused:
            cli.call("resume", "run=run", word)
        assert refused.value.exit_code == 2 and refused.value.fix, word
        if word not in ("optimizer.lr=auto", "epochs=1", "epochs=2it"):
            assert "start a new run with" in refused.value.fix and key in refused.value.fix, (word, refused.value)
        after = {path.name: path.read_bytes() for path in Path("run").iterdir()}
        assert after == before, word  # the run itself is as it was
        fault("A8", f"resume with {word}: refused")
    cli.call("resume", "run=run", "epochs=10it")  # what the refusal of epochs=1 advised
    assert checkpoint.read("run/last.safetensors").meta["step"] == 10


def test_a_change_of_plan_is_made_as_asked_and_said(folders, fault, runs, capsys):
    for number, (word, said) in enumerate(
        {
            "epochs=5": "the run is now 20 steps long, it was 12; 4 are done",
            "optimizer.lr=0.01": "the schedule changes: at step 4 the learning rate is now",
            "schedule.base=0.5": "the schedule changes",
        }.items()
    ):
        take(runs, "left6", f"run{number}")
        capsys.readouterr()
        cli.call("resume", f"run=run{number}", word)
        assert said in capsys.readouterr().out, word
        meta = checkpoint.read(f"run{number}/last.safetensors").meta
        assert meta["step"] == (20 if word == "epochs=5" else 12)
        # and a resume without a word keeps to it
        stored = yaml.safe_load(Path(f"run{number}/config.yaml").read_text())
        assert stored == meta["config"]
        fault("A8", f"resume with {word}: said")


def test_a_schedule_never_changes_its_length_unasked(folders, fault, runs, whole, capsys):
    take(runs, "left6")
    capsys.readouterr()
    cli.call("resume", "run=run")
    assert "now" not in capsys.readouterr().out and everything(Path("run")) == whole
    fault("A8", "nothing changed")


def test_another_thread_count_is_not_taken_unasked(folders, fault, monkeypatch):
    words = [word for word in SMALL if not word.startswith("machine.threads")]
    torch.set_num_threads(1)
    left_at(6, *words)
    seen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)  # another machine, with more cores
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    cli.call("resume", "run=run")
    assert seen[0] == 1
    fault("A8", "a machine with another number of cores")


def test_another_torch_and_other_threads_are_said(folders, fault, runs, whole, capsys):
    """Nothing is promised of the last digits then; where nothing changes, nothing is said."""
    changes = [("1.0.0", "debug=false", "torch was 1.0.0, now it is"), (None, "machine.threads=2", "threads was 1, now it is 2")]
    for number, (then, word, said) in enumerate(changes):
        run = f"run{number}"
        take(runs, "left6", run)
        stored = checkpoint.read(f"{run}/last.safetensors")
        meta = {key: value for key, value in stored.meta.items() if key not in ("format", "aliases")}
        meta["versions"] = {**meta["versions"], "torch": then or meta["versions"]["torch"]}
        checkpoint.write(Path(run, "last.safetensors"), stored.tensors, meta)
        capsys.readouterr()
        cli.call("resume", f"run={run}", word)
        told = [line for line in capsys.readouterr().out.splitlines() if "last digits" in line]
        assert len(told) == 1 and said in told[0]
        assert word != "debug=false" or everything(Path(run)) == whole
        fault("A8", f"resume where {said.partition(',')[0]}")
    take(runs, "left6")
    cli.call("resume", "run=run")
    assert "last digits" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda: Path("pets/cat/0.png").unlink(), "class counts"),
        (lambda: Path("pets/cat").rename("pets/tiger"), "classes"),
        (lambda: save(Path("pets/cat/9.png")), "class counts"),
        (lambda: Path("pets/cat/0.png").rename("pets/dog/zero.png"), "class counts"),
        (lambda: Path("pets/cat/0.png").rename("pets/cat/zero.png"), "pictures stand in another order"),
        (lambda: (Path("pets/cat/0.png").rename("x.png"), Path("pets/dog/1.png").rename("pets/cat/0.png"),
                  Path("x.png").rename("pets/dog/1.png")), ""),
        (lambda: None, None),
    ],
    ids=["removed", "class renamed", "added", "moved to another class", "renamed", "swapped", "as it was"],
)  # fmt: skip
def test_data_that_have_changed(folders, fault, change, text):
    make_folder(folders / "pets", {"cat": 8, "dog": 8}, size=16)
    left_at(5, *FOLDER)
    change()
    if text:
        with pytest.raises(DataError, match=f"not those of the run: its {text}") as refused:
            cli.call("resume", "run=run")
        assert refused.value.exit_code == 3 and "put the run's data back" in refused.value.fix
    else:
        cli.call("resume", "run=run")  # other pixels under the same names are not looked for: that would be to read all of them
    fault("A8", f"data changed: {text}")


def test_a_validation_part_that_has_changed(folders, fault):
    """By other pictures the best of the whole run cannot be chosen."""
    make_folder(folders / "pets", {f"{part}/{name}": 8 for part in ("train", "val") for name in ("cat", "dog")}, size=16)
    left_at(5, *FOLDER)
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    picture = save(Path("pets/val/cat/9.png"))
    with pytest.raises(DataError, match="not those of the run: its validation part has other pictures") as refused:
        cli.call("resume", "run=run")
    assert refused.value.exit_code == 3 and Path("run/last.safetensors").read_bytes() == before["last.safetensors"]
    picture.unlink()
    cli.call("resume", "run=run")
    cli.call("train", *FOLDER, "hydra.run.dir=whole")
    assert everything(Path("run")) == everything(Path("whole"))
    fault("A8", "data changed: a picture more to validate on")


def test_data_errors_before_training_leave_a_run_that_resume_starts_once_they_are_mended(folders, fault):
    make_folder(folders / "pets", {"cat": 8, "dog": 8}, size=16)
    Path("pets").rename("elsewhere")
    with pytest.raises(CnntrainError) as failed:
        cli.call("train", *FOLDER, "hydra.run.dir=run")
    assert failed.value.exit_code == 3
    if Path("run").exists():
        assert json.loads(Path("run/status.json").read_text())["state"] == "failed"
        with pytest.raises(DataError):
            cli.call("resume", "run=run")
    Path("elsewhere").rename("pets")
    if Path("run").exists():
        cli.call("resume", "run=run")
    else:
        cli.call("train", *FOLDER, "hydra.run.dir=run")
    cli.call("train", *FOLDER, "hydra.run.dir=whole")
    assert everything(Path("run")) == everything(Path("whole"))
    fault("A9", "data that were not there")


def test_a_finished_run_is_left_as_it_is(folders, fault, whole, capsys):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("whole").iterdir() if path.name != "run.lock"}
    assert forked.run(lambda: cli.main(["resume", "run=whole"]), folders / "console").code == 0
    assert "already done" in (folders / "console").read_text()
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("whole").iterdir() if path.name != "run.lock"}
    assert after == before
    fault("A9", "a finished run")


@pytest.mark.parametrize("text", ["", "{", "[]", '"done"', "null", '{"state": ["done"]}', "\0" * 50])
def test_a_status_that_says_nothing_is_no_obstacle(folders, fault, whole, text):
    Path("whole/status.json").write_text(text)
    cli.call("resume", "run=whole")
    assert everything(Path("whole")) == whole and json.loads(Path("whole/status.json").read_text())["state"] == "done"
    fault("A9", f"status.json is {text[:9]!r}")


def test_a_run_without_its_first_save_starts_again_and_says_so(folders, fault, whole, capsys):
    left_at(1, *SMALL)
    assert not Path("run/last.safetensors").exists()
    cli.call("resume", "run=run")
    assert "starting again from its config.yaml" in capsys.readouterr().out and everything(Path("run")) == whole
    fault("A9", "killed before its first save")


@pytest.mark.parametrize("place", ["nowhere", "empty", "file"])
def test_where_no_run_is_nothing_is_left_either(folders, fault, place):
    Path("empty").mkdir()
    Path("file").write_text("")
    with pytest.raises(CheckpointError, match=place) as refused:
        cli.call("resume", f"run={place}")
    assert refused.value.exit_code == 4 and refused.value.fix
    assert not list(Path("empty").iterdir()) and not Path("nowhere").exists()
    fault("A9", f"no run: {place}")


@pytest.mark.parametrize("end", [b'{"ste', b"\xff\x00\xfe" * 9], ids=["cut", "noise"])
def test_rows_that_are_lost_are_told(folders, fault, capsys, end):
    left_at(11, *SMALL, "report.every=1it")
    rows = Path("run/metrics.jsonl")
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:2]) + end)
    cli.call("resume", "run=run", "report.progress=lines")
    assert "has lost 10 of the 12 rows" in capsys.readouterr().out  # of ten steps and two evaluations
    assert [json.loads(line)["step"] for line in rows.read_text().splitlines()][:3] == [1, 2, 11]
    fault("A9", f"metrics.jsonl ends in {end[:5]!r}")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_best_that_cannot_be_read_does_not_keep_a_run_from_its_end(folders, fault, whole, capsys, damage):
    best = Path("whole/best.safetensors")
    best.write_bytes(best.read_bytes()[:-50]) if damage == "cut" else best.unlink()
    Path("whole/status.json").write_text('{"state": "running"}')
    capsys.readouterr()
    cli.call("resume", "run=whole", "report.progress=lines")
    out = " ".join(capsys.readouterr().out.split())
    assert "the last weights are judged in its place" in out and "last weights, step 12" in out
    assert json.loads(Path("whole/status.json").read_text())["state"] == "done"
    fault("A9", f"best.safetensors is {damage}")


def test_tensorboard_shows_one_run(folders, fault):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = [*(word for word in SMALL if not word.startswith("report.tensorboard")), "report.every=1it", "report.images=0"]
    cli.call("train", *words, "hydra.run.dir=whole")
    left_at(7, *words)
    cli.call("resume", "run=run")
    shown = []
    for run in ("whole", "run"):
        events = EventAccumulator(run)
        events.Reload()
        tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("speed/")]
        shown.append({tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags})
    assert shown[0] == shown[1] and len(shown[0]["train/loss"]) == 12
    fault("A3", "TensorBoard's scalars of a resumed run")
