import json
import os
import subprocess
import sys

import pytest
import yaml

from cnntrain.engine.run import Run
from cnntrain.errors import CheckpointError, DataError, Interrupted


def status(folder):
    return json.loads((folder / "status.json").read_text())


def test_a_run_says_how_it_is_and_how_it_ended(tmp_path):
    with Run(tmp_path, config={"b": 1, "a": "ü"}, command=["epochs=1"]) as run:
        assert status(tmp_path)["state"] == "running"
        run.result = {"value": 0.5, "metrics": {"x": float("nan")}}
    assert status(tmp_path)["state"] == "done" and status(tmp_path)["value"] == 0.5 and status(tmp_path)["metrics"] == {"x": None}
    assert list(yaml.safe_load((tmp_path / "config.yaml").read_text())) == ["b", "a"]
    assert "epochs=1" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (DataError("no pictures"), "failed", 3),
        (Interrupted("stopped", signum=15), "interrupted", 143),
        (ZeroDivisionError("x"), "failed", 1),
    ],
)
def test_an_error_is_noted_with_its_traceback(tmp_path, error, state, code):
    with pytest.raises(type(error)), Run(tmp_path, config={}):
        raise error
    assert status(tmp_path)["state"] == state and status(tmp_path)["code"] == code
    assert "Traceback" in (tmp_path / "train.log").read_text()


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    class Kept:
        meta = {"rows": 2}

    with Run(tmp_path, config={}) as run:
        for step in range(4):
            run.row({"step": step, "loss": float("inf") if step == 1 else 0.5})
    with Run(tmp_path, config={}, checkpoint=Kept()) as run:
        assert run.rows == 2
        run.row({"step": 9})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 9] and rows[1]["loss"] is None


def test_a_second_process_is_kept_out_and_told_by_whom(tmp_path):
    code = f"from cnntrain.engine.run import Run; from pathlib import Path; Run(Path({str(tmp_path)!r}), config={{}}).__enter__()"
    with Run(tmp_path, config={}):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "CheckpointError" in out.stderr and f"in use by process {os.getpid()}" in out.stderr
    with Run(tmp_path, config={}):
        pass


def test_what_cannot_be_written_is_exit_code_4(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written: Not a directory"), Run(tmp_path / "file", config={}):
        pass


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".tmp-1-last.safetensors").write_bytes(b"half")
    with Run(tmp_path, config={}):
        assert not list(tmp_path.glob(".tmp-*"))


def test_a_run_of_the_users_own_parts_says_whom_to_trust(tmp_path):
    ours = {"_target_": "cnntrain.task.train.train", "model": {"_target_": "cnntrain.model.lenet.LeNet5"}}
    assert Run(tmp_path, config=ours).resume_command == f"cnntrain resume run={tmp_path}"
    theirs = {**ours, "model": {"_target_": "mynets.MyNet"}, "augment": {"own": {"_target_": "pkg.ops.Own"}}}
    assert Run(tmp_path, config=theirs).resume_command == f"cnntrain resume run={tmp_path} trust=[mynets,pkg.ops]"
