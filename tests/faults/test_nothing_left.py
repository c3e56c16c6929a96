"""Row F5: what only the building of the net or the data tells is a config error, too, and leaves nothing where nothing was begun."""

import json
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_verb import TASK, lay_out
from faults.commands import ONE_LINE, Remembering

from cnntrain.cli import main
from cnntrain.config import compose
from cnntrain.engine.lock import Lock
from cnntrain.errors import CheckpointError

RUN = "epochs=1 batch_size=16 report.images=0 machine.device=cpu".split()
DATA = "data=synthetic data.image_size=16 data.channels=1 data.samples=80 data.test_samples=20 data.classes=2".split()
TOLD = "raise ConfigError('it cannot be', where='x', fix='x=0.1')"
# What the fake task does before it is told that it cannot be.
BEGUN = {
    "a row": "run.row({'step': 1}); run.sync()",
    "a checkpoint": "(run.folder / 'last.safetensors').write_text('all of it')",
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compose, "Composer", Remembering)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def fake(work):
    """A verb whose task does as ``how`` says: a statement each."""
    lay_out(work)
    task = TASK.replace("import os,", "from cnntrain.errors import ConfigError, DataError\nimport os,")
    (work / "faketask.py").write_text(task.replace('print("x is", x)', "exec(how)"))
    yield lambda how, *words: main(["fake", f'how="{how}"', *words])
    sys.modules.pop("faketask", None)


def everything(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if "__pycache__" not in str(path))


def status(folder):
    return json.loads(Path(folder, "status.json").read_text())


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("model=filtered model.filters=[]", r"model\.filters=\[sobel_x,sobel_y\]"),
        ("model=filtered model@model.net=resnet20 model.net.depth=15", "model.net.depth=14"),
        ("model=lenet5_classic data.image_size=8", "images of|data.image_size="),
        ("model=conv_autoencoder", "objective=reconstruction"),
        ("model=resnet18 data.image_size=8 batch_size=8 microbatch=7", "microbatch=8"),
        ("schedule=step schedule.milestones=null", "schedule."),
        ("machine.device=cuda:99", "machine.device="),
        ("lr_find start=1 end=0.5", "end="),
    ],
)
def test_a_config_error_of_the_build_leaves_nothing(work, capsys, fault, words, fix):
    verb, own = ([], words.split()) if "=" in words.split()[0] else (["lr_find"], words.split()[1:])
    given = [word for word in [*RUN, *DATA] if not verb or not word.startswith(("epochs", "report"))]
    assert main([*verb, *given, *own]) == 2  # of a key that stands twice, the last counts
    line = capsys.readouterr().err.splitlines(keepends=True)[-1]
    assert ONE_LINE.fullmatch(line) and re.search(f"Fix: .*({fix})", line), line
    assert everything() == []
    fault("F5", f"{words}, nothing left")


def test_a_range_test_before_it_leaves_nothing_either(work, capsys, monkeypatch):
    from cnntrain.task import lr_find

    monkeypatch.setattr(lr_find, "FEWEST", 30), monkeypatch.setattr(lr_find, "MOST", 30)
    assert main([*RUN, *DATA, "optimizer.lr=auto", "schedule=one_cycle", "schedule.up=0.6", "schedule.three_phase=true"]) == 2
    assert "Fix: schedule.up=0.45" in capsys.readouterr().err and everything() == []


def test_folders_and_files_of_others_stay(fake, work):
    Path("hers").mkdir()
    for name in ("notes.txt", "lr_find.png", "events.out.tfevents.1.vm.2.0"):
        Path("hers", name).write_text("hers")
    Path("empty").mkdir()
    Path("outputs", "2001-01-01").mkdir(parents=True)
    before = everything()
    for folder in ("hers", "empty", "outputs/2001-01-01/run", "hers/deep/run"):
        assert fake(TOLD, f"hydra.run.dir={folder}") == 2
        assert everything() == before
    assert Path("hers", "lr_find.png").read_text() == "hers"


def test_what_others_put_beside_it_in_the_meantime_stays(fake, work):
    assert fake(f"(run.folder / 'mine').touch(); (run.folder.parent / 'theirs').touch(); {TOLD}", "hydra.run.dir=all/run") == 2
    assert everything("all") == ["all/run", "all/run/mine", "all/theirs"]


def test_the_same_command_can_be_given_again(fake, work):
    """With the fix; nothing of the first stands in its way."""
    assert fake(TOLD, "hydra.run.dir=run") == 2
    assert fake("pass", "hydra.run.dir=run") == 0 and status("run")["state"] == "done"
    assert fake(TOLD, "hydra.run.dir=run") == 4 and status("run")["state"] == "done", "a folder with results is nobody's to remove"


@pytest.mark.parametrize("begun", BEGUN)
def test_a_run_that_was_begun_stays(fake, work, begun):
    assert fake(f"{BEGUN[begun]}; {TOLD}") == 2
    assert status("outputs/fake")["state"] == "failed" and "it cannot be" in Path("outputs/fake/train.log").read_text()


@pytest.mark.parametrize(("how", "code"), [(TOLD.replace("Config", "Data"), 3), ("raise ValueError", 1), ("sys.exit(5)", 5)])
def test_other_errors_stay_with_their_log(fake, work, how, code):
    assert fake(how) == code
    assert status("outputs/fake")["state"] == "failed" and "Traceback" in Path("outputs/fake/train.log").read_text()


def test_a_run_that_goes_on_stays(fake, work, capsys):
    assert fake("raise ValueError") == 1
    config = Path("outputs/fake/config.yaml")
    config.write_text(config.read_text().replace("raise ValueError", TOLD.replace("'", '"')))
    before = everything()
    assert main(["resume", "run=outputs/fake", "trust=[faketask]"]) == 2
    assert "it cannot be" in capsys.readouterr().err and everything() == before and status("outputs/fake")["code"] == 2


def test_a_job_of_a_sweep_keeps_its_folder(fake, work):
    words = ["fake", "-m", f'how="{TOLD}"', "x=0.1,0.2", "hydra.sweep.dir=all"]
    for again in ([], ["sweep.resume=true"]):
        assert main([*words, *again]) == 7
        assert [status(folder)["state"] for folder in sorted(Path("all").glob("*_x=*"))] == ["failed", "failed"]
        assert all("it cannot be" in (folder / "console.log").read_text() for folder in Path("all").glob("*_x=*"))


def test_a_lock_that_its_holder_removes_is_none(work):
    """Who waits for it has opened a file that is gone then: it must not be taken for the lock."""
    first, second = Lock(work), Lock(work, patience=20)
    first.take()
    waiting = threading.Thread(target=second.take)
    waiting.start()
    time.sleep(0.2)
    os.unlink("run.lock")
    first.release()
    waiting.join()
    assert Path("run.lock").read_text() == str(os.getpid())
    with pytest.raises(CheckpointError, match="in use by"), Lock(work):
        pass
    second.release()
