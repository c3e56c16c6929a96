"""Row F3: config files that cannot be read; and any text at all as a word of the command line."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest
from faults.commands import Remembering, told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cnntrain.cli import main
from cnntrain.config import compose
from cnntrain.job import Job

GLOBAL = b"# @package _global_\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in, so that whatever is left behind is seen; no run begins."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(Job, "call", lambda job, folder, command: folder.rmdir())


@pytest.mark.parametrize(
    ("what", "text", "told_of"),
    [
        ("a tab", GLOBAL + b"stopping:\n\tpatience: 3\n", r"spaces.*|bad.yaml:3"),
        ("a duplicate key", GLOBAL + b"epochs: 1\nseed: 1\nepochs: 2\n", r"duplicate key epochs \(.*bad.yaml:4\)"),
        ("an open bracket", GLOBAL + b"augment: [flip\nseed: 1\n", r"bad.yaml:\d"),
        ("a colon in a value", GLOBAL + b"epochs: 3: 4\n", r"bad.yaml:2"),
        ("a byte order mark", b"\xef\xbb\xbf" + GLOBAL + b"epochs: 3\n", r"byte order mark \(.*bad.yaml:1\)"),
        ("UTF-16", "# @package _global_\nepochs: 3\n".encode("utf-16"), r"bad.yaml"),
        ("latin-1", GLOBAL + "# größer\nepochs: 3\n".encode("latin-1"), r"UTF-8.*bad.yaml"),
        ("a zero byte", GLOBAL + b"epochs: 3\0\n", r"bad.yaml"),
        ("a list at the root", GLOBAL + b"- 1\n- 2\n", r"bad"),
        ("a text at the root", GLOBAL + b"epochs\n", r"epochs: null is not"),
        (
            "an unknown option",
            GLOBAL + b"defaults:\n  - override /model: resnet81\n",
            r"did you mean 'resnet18'.*bad.yaml.*Fix: model=resnet18",
        ),
        ("an unknown group", GLOBAL + b"defaults:\n  - override /modle: lenet5\n", r"did you mean 'model'.*bad.yaml"),
        ("a defaults cycle", GLOBAL + b"defaults:\n  - bad\n", r"leads back .*bad.yaml"),
        ("an unknown key", GLOBAL + b"optimizer:\n  lrr: 0.1\n", r"optimizer.lrr: .*did you mean 'lr'"),
        ("a bad value", GLOBAL + b"epochs: soon\n", r"epochs: 'soon' is not a duration"),
        ("a circle", GLOBAL + b"epochs: ${batch_size}\nbatch_size: ${epochs}\n", r"[Rr]ecursive"),
        ("nothing to interpolate", GLOBAL + b"epochs: ${length}\n", r"'length' not found"),
        ("an unset variable", GLOBAL + b"epochs: ${oc.env:NO_SUCH_VARIABLE}\n", r"NO_SUCH_VARIABLE"),
        ("an unknown resolver", GLOBAL + b"epochs: ${nope:3}\n", r"nope"),
        ("a python tag", GLOBAL + b"epochs: !!python/object/apply:os.getpid []\n", r"bad.yaml:2"),
        ("a key that is left open", GLOBAL + b"epochs: ???\n", r"train needs epochs .*Fix: add epochs=VALUE"),
        ("a part's key that is left open", GLOBAL + b"optimizer:\n  lr: ???\n", r"train needs optimizer.lr .*Fix: add optimizer.lr=VALUE"),
        (
            "an unknown target",
            GLOBAL + b"model:\n  _target_: cnntrain.model.resnet.ResNett\n",
            r"did you mean 'cnntrain.model.resnet.ResNet'",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) and " " in part else "",
)
def test_a_file_that_cannot_be(fault, capsys, tmp_path, what, text, told_of):
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_bytes(text)
    line = told(capsys, "--config-dir", str(folder.parent), "experiment=bad")
    assert re.search(told_of, line), line
    fault("F3", what)


@pytest.mark.parametrize("text", [b"", b"# only words\n", GLOBAL + b"epochs: 3\r\nseed: 2\r\n"], ids=["empty", "comments", "CRLF"])
def test_files_that_are_fine(fault, tmp_path, text):
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "fine.yaml").write_bytes(text)
    assert main(["--config-dir", str(folder.parent), "experiment=fine", "--cfg", "job"]) == 0
    fault("F3", f"a file with {text!r}")


def test_what_an_experiment_leaves_open_is_given_by_the_command_line(fault, tmp_path, monkeypatch):
    folder = tmp_path / "own" / "experiment" / "deep"
    folder.mkdir(parents=True)
    (folder / "open.yaml").write_bytes(GLOBAL + b"epochs: ???\noptimizer:\n  lr: ???\n")
    seen = []
    monkeypatch.setattr(Job, "call", lambda job, folder, command, **more: (folder.rmdir(), seen.append(job.config)))
    words = ["--config-dir", str(tmp_path / "own"), "experiment=deep/open", "hydra.run.dir=run"]
    assert main([*words, "epochs=3", "optimizer.lr=0.3"]) == 0 and (seen[0]["epochs"], seen[0]["optimizer"]["lr"]) == (3, 0.3)
    assert main([*words, "epochs=3"]) == 2
    fault("F3", "a key that an experiment leaves open and the command line gives")


def test_a_missing_folder(fault, capsys):
    assert "no folder nowhere" in told(capsys, "--config-dir", "nowhere")
    fault("F3", "a missing config folder")


letters = st.text(st.characters(codec="utf-8"), max_size=12)
words = st.one_of(
    letters,
    st.builds("{}={}".format, st.sampled_from(["epochs", "optimizer.lr", "model", "augment", "trust", "~data", "+x", "seed"]), letters),
    st.builds("{}=1".format, letters),
)


@pytest.mark.timeout(120)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words)
@example("epochs='")
@example("ep\nochs=3")
@example("epochs=\0")
@example("hydra.run.dir=")
@example("model='a\nb'")
def test_any_word_is_taken_or_told_in_one_line(monkeypatch, word):
    if word.startswith("-"):
        return  # flags: some print pages, some sweep
    monkeypatch.setattr(compose, "Composer", Remembering)
    monkeypatch.setattr("cnntrain.config.run_folder.create", lambda path, given: Path())
    monkeypatch.setattr(Job, "call", lambda job, folder, command, made: {})
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main([word])
    assert code in (0, 2), (word, err.getvalue())
    assert code == 0 or re.fullmatch(r"error: [^\n]+\. Fix: [^\n]+\n", err.getvalue()), (word, err.getvalue())
    assert not any(Path.cwd().iterdir())
