"""What surrounds a run on somebody's own machine: the terminal, where the output goes, the home folder, the folder one works in."""

import contextlib
import ctypes
import io
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from data.pictures import make_folder, save
from faults import composed, forked
from rich.console import Console
from workload import fingerprint

from cnntrain import cli
from cnntrain.data.scan import scan
from cnntrain.data.storage import cache_folder, locked
from cnntrain.errors import DataError
from cnntrain.objective.class_metrics import MOST_DRAWN, ClassEvaluation, Samples
from cnntrain.task import predict
from cnntrain.task.assemble import check_same_data

NOBODY = 54321  # a number that no user of this machine has


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- where the output goes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("which", [(1,), (1, 2)], ids=["stdout", "stdout and stderr"])
def test_a_full_disk_under_the_output_is_no_reason_to_lose_a_training(tmp_path, fault, which):
    """``cnntrain … > train.out`` where the disk fills."""
    job = composed.composed("report.progress=lines", "report.tensorboard=false")

    def work(full):
        for descriptor in which if full else ():
            os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
        return composed.main(job, tmp_path / f"run{full}")

    for full in (False, True):
        ended = forked.run(lambda full=full: work(full), tmp_path / f"log{full}")
        assert ended.code == 0, ended.output
    assert fingerprint(tmp_path / "runTrue") == fingerprint(tmp_path / "runFalse")
    told = "warning: the output cannot be written (No space left on device): the command goes on without"
    assert ended.output.count(told) == (2 not in which)
    fault("B2", f"a full disk under {len(which)} standard streams")


@pytest.mark.parametrize("width", [1, 20, 57])
def test_predictions_fit_a_narrow_terminal(monkeypatch, fault, width):
    screen = Console(width=width, file=io.StringIO())
    monkeypatch.setattr(predict, "console", lambda: screen)
    table = predict.ranking_of({"pictures/a.png": [("cat", 0.9), ("dog", 0.1)]})
    screen.print(table)
    assert table.row_count == 1
    fault("G2", f"predictions in {width} columns")


# --- who one is, and where


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_user_without_a_home_is_told_what_to_set(tmp_path, fault):
    """As in a container that is started with a number for a user."""

    def work():
        for name in ("HOME", "XDG_CACHE_HOME"):
            os.environ.pop(name, None)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        with pytest.raises(DataError, match="no home folder.*Fix: export XDG_CACHE_HOME=") as caught:
            cache_folder("folders")
        os.environ["XDG_CACHE_HOME"] = caught.value.fix.partition("=")[2]
        assert str(cache_folder("folders")) == "/tmp/cnntrain/folders"

    ended = forked.run(work, tmp_path / "log")
    assert ended.code == 0, ended.output
    fault("B3", "no home folder")


def test_the_home_of_nobody_is_a_folder_that_is_not_there(home, fault):
    with pytest.raises(DataError, match="there is no folder .*~no-such-user/pets"):
        cli.call("train", "data=folder", "model=lenet5", **{"data.root": "~no-such-user/pets", "hydra.run.dir": "run"})
    fault("D8", "a root in the home of nobody")


def test_a_tilde_is_the_home_folder_in_every_path(home, monkeypatch):
    """Most shells leave that of KEY=~/x to the program."""
    monkeypatch.setenv("HOME", str(home))
    job = "epochs=1it batch_size=16 report.tensorboard=false report.progress=off machine.threads=1".split()
    cli.call("train", *job, *composed.DATA, "model=lenet5", "hydra.run.dir=~/my run")
    assert (home / "my run/status.json").exists() and not (home / "~").exists()
    assert cli.main(["resume", "run=~/my run"]) == 0
    assert cli.main(["evaluate", "checkpoint=~/my run/last.safetensors", "out=~/table.csv"]) == 0 and (home / "table.csv").exists()


def test_runs_among_the_pictures_are_no_class(home, fault):
    """Who works in the folder of the pictures has the results there, and some of them are pictures."""
    make_folder(home, {"cat": 2, "dog": 2, "other/outputs": 1, "other/cat": 1})
    save(home / "outputs/2026-01-01/12-00-00_lenet5_folder/lr_find.png")
    assert scan(Path()).classes == ["cat", "dog", "other"] and scan(home).classes == ["cat", "dog", "other"]
    assert scan(home / "other").classes == ["cat", "outputs"], "a class may be called so"
    fault("D8", "results among the class folders")


# --- many classes


@pytest.mark.parametrize(("number", "drawn"), [(3, 1), (MOST_DRAWN + 1, 0)])
def test_no_picture_is_drawn_of_more_classes_than_it_has_room_for(number, drawn):
    """To draw 10,000 by 10,000 cells takes gigabytes, at the end of a training that is then lost."""
    labels = torch.zeros(2, dtype=torch.int64)
    shown = []
    board = SimpleNamespace(confusion=lambda *given: shown.append(given))
    judged = ClassEvaluation(Samples(labels, labels, labels, torch.ones(2).double(), torch.zeros(2).double()), number)
    judged.show(board, "val", [str(k) for k in range(number)], 1)
    assert len(shown) == drawn and judged.metrics["accuracy"] == 1


def test_of_many_classes_the_first_that_differ_are_named(fault):
    names = [f"class {k}" for k in range(10_000)]
    data = SimpleNamespace(classes=[*names[:5000], "tiger", *names[5001:]], class_counts=[1] * 10_000, mean=[0.5], std=[0.5])
    stored = SimpleNamespace(meta={"classes": names, "class_counts": [1] * 10_000, "mean": [0.5], "std": [0.5]})
    with pytest.raises(DataError, match=r"classes are 10,000, of which \['class 5000', .*now they are 10,000, of which \['tiger'") as told:
        check_same_data(stored, data)
    assert len(str(told.value)) < 400
    fault("A8", "one of 10,000 classes has another name")


# --- another folder to work in

RUN = (
    "data=folder data.root=pets data.image_size=12 data.val=0.25 data.cache=cache model=lenet5 epochs=1 batch_size=4 machine.threads=1 "
    "report.tensorboard=false report.progress=off"
).split()


def test_what_an_evaluation_elsewhere_advises_works_when_typed(home, fault, capsys):
    """The data's place is relative to where the run was started."""
    make_folder(home / "pets", {"cat": 8, "dog": 8}, size=12)
    cli.call("train", *RUN, "hydra.run.dir=run")
    here = cli.call("evaluate", "checkpoint=run/last.safetensors", "split=val")
    (home / "sub").mkdir()
    os.chdir("sub")
    words = ["evaluate", "checkpoint=../run/last.safetensors", "split=val"]
    capsys.readouterr()
    assert cli.main(words) == 3
    advised = capsys.readouterr().err.rpartition("Fix: ")[2].partition(" with ")[0]
    assert advised == "data=folder data.image_size=12 data.val=0.25 data.cache=cache data.root=DIR"
    there = cli.call(*words, *advised.replace("DIR", "../pets").split())
    assert there["accuracy"] == here["accuracy"] and there["pictures"] == here["pictures"] == 4
    fault("D8", "an evaluation in another folder")


def test_a_working_folder_that_is_gone_is_told(home, fault, capsys):
    (home / "gone").mkdir()
    os.chdir("gone")
    (home / "gone").rmdir()
    assert cli.main(["train"]) == 4
    assert "the working folder is gone (the shell). Fix: cd to " in capsys.readouterr().err
    fault("B3", "a working folder that is gone")


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("resume runs", "run=runs"),
        ("evaluate best.safetensors", "checkpoint=best.safetensors"),
        ("predict best.safetensors images=runs", "checkpoint=best.safetensors"),
        ("predict runs", "images=runs"),
        ("predict checkpoint=best.safetensors runs", "images=runs"),
    ],
)
def test_a_path_without_its_key_is_told_which(home, fault, capsys, words, fix):
    (home / "runs").mkdir()
    (home / "best.safetensors").write_bytes(b"")
    assert cli.main(words.split()) == 2
    assert capsys.readouterr().err.endswith(f"stands without a key (command line). Fix: {fix}\n")
    fault("F2", words)


def test_whoever_waits_for_another_process_that_decodes_is_told_so(home, capfd):
    def held():
        with locked(home / "a.lock", key="data.cache"):
            (home / "taken").touch()
            time.sleep(0.3)

    child = forked.start(held, home / "log")
    while not (home / "taken").exists():
        time.sleep(0.005)
    with locked(home / "a.lock", key="data.cache"):
        assert f"waiting for another process that writes to {home}\n" == capfd.readouterr().err
    assert child.wait().code == 0
    with locked(home / "a.lock", key="data.cache"):
        assert not capfd.readouterr().err


def small_disk(folder: Path, size: str) -> None:
    """A tmpfs, in a mount namespace of this fork's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, private, recursive = 0x20000, 1 << 18, 1 << 14
    folder.mkdir()
    if libc.unshare(new_mounts) or libc.mount(b"none", b"/", None, private | recursive, None):
        os._exit(77)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()):
        os._exit(77)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("train", "hydra.run.dir=FOLDER"),
        ("train -m seed=1,2", "hydra.sweep.dir=FOLDER"),
        ("resume run=../run epochs=2", "make it writable, or room there, then cnntrain resume run=../run"),
    ],
)
def test_a_full_disk_is_told_with_the_key_that_helps(home, fault, words, fix):
    """A sweep has another key than a run, and a run that is there already can only go on where it is."""

    def work():
        small_disk(home / "full", "16k")
        os.chdir("full")
        if "resume" in words:
            cli.call("train", *composed.SMALL, "epochs=1", "report.tensorboard=false", "report.progress=off", f"hydra.run.dir={home}/run")
            (home / "run/metrics.jsonl").unlink()
            (home / "run/metrics.jsonl").mkdir()  # as good as a full disk to it
        with contextlib.suppress(OSError), open("ballast", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        verb, *more = words.split()
        return cli.main([verb, *(composed.SMALL if verb == "train" else []), *more])

    ended = forked.run(work, home / "log")
    if ended.code == 77:
        pytest.skip("mounting is not allowed here")
    assert ended.code == 4 and f"Fix: {fix}" in ended.output.splitlines()[-1], ended.output
    fault("B1", f"{words} on a full disk")
