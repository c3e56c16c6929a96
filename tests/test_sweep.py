import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_verb import lay_out

from cnntrain.config.find import shipped
from hydra_plugins.cnntrain_launcher.outcome import Outcome
from hydra_plugins.cnntrain_launcher.ranking import rank

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(shipped().parent)}
COMMAND = [sys.executable, "-m", "cnntrain", "fake", "-m"]


def sweep(folder, *words):
    return subprocess.run([*COMMAND, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=250, check=False)


def status(folder):
    return json.loads((folder / "status.json").read_text())


def test_one_jobs_failure_is_its_own_and_the_same_command_runs_what_is_missing(tmp_path):
    lay_out(tmp_path)
    words = ["how=fine,raise,exit,kill,hang,train", "sweep.job_timeout=4", "sweep.parallel=2", "hydra.sweep.dir=here"]
    done = sweep(tmp_path, *words)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].startswith("error: 4 of 6 jobs failed (here). Fix: see here/1_how=raise/console.log")
    folders = {path.name.partition("=")[2]: path for path in (tmp_path / "here").glob("*_how=*")}
    assert {name: status(path)["state"] for name, path in folders.items()} == {
        "fine": "done", "train": "done", "raise": "failed", "exit": "failed", "kill": "failed", "hang": "failed",
    }  # fmt: skip
    for name, words_of_it in (("raise", "ValueError: oh no"), ("exit", "SystemExit"), ("kill", "SIGKILL"), ("hang", "job_timeout")):
        assert words_of_it in (folders[name] / "train.log").read_text()
    assert "x is 0.5" in (folders["fine"] / "console.log").read_text()
    assert "threads: null" not in (folders["fine"] / "config.yaml").read_text()  # each has its share of the cores
    # every job a process of its own, all forked from one
    assert status(folders["fine"])["pid"] != status(folders["train"])["pid"]
    assert status(folders["fine"])["parent"] == status(folders["train"])["parent"]
    for row in ("how=fine", "how=hang", "failed", "2 of 6 jobs done"):
        assert row in done.stdout

    before = (folders["fine"] / "status.json").stat().st_mtime_ns
    again = sweep(tmp_path, *words[:1], "sweep.parallel=2", "hydra.sweep.dir=here", "sweep.job_timeout=1")
    assert again.returncode == 7
    assert again.stdout.count("was done already") == 2
    assert (folders["fine"] / "status.json").stat().st_mtime_ns == before
    assert (tmp_path / "here" / "1_how=raise_2").is_dir()


def test_jobs_in_fresh_interpreters_and_seeds_taken_together(tmp_path):
    lay_out(tmp_path)
    done = sweep(tmp_path, "x=0.1,0.2", "seed=1,3", "hydra.launcher.start=fresh", "sweep.parallel=4")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "outputs/sweep").glob("*_x*")) == [
        "0_x=0.1_seed=1", "1_x=0.1_seed=3", "2_x=0.2_seed=1", "3_x=0.2_seed=3",
    ]  # fmt: skip
    assert "0.2200 ± 0.0141" in done.stdout and done.stdout.index("x=0.2 ") < done.stdout.index("x=0.1 ", done.stdout.index("tried"))
    folder = tmp_path / "outputs/sweep/0_x=0.1_seed=1"
    assert "x is 0.1" in (folder / "console.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_jobs_end_with_their_sweep(tmp_path, number):
    lay_out(tmp_path)
    parent = subprocess.Popen([*COMMAND, "how=hang,fine"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    file = tmp_path / "outputs/sweep/0_how=hang/status.json"
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    job = status(file.parent)["pid"]
    parent.send_signal(number)
    assert parent.wait(60) == (130 if number == signal.SIGINT else -number)
    parent.stderr.close()
    while runs(job) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(job)
    assert not (tmp_path / "outputs/sweep/1_how=fine").exists()


def runs(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def outcome(number, value, *overrides, error="", metric="val/accuracy"):
    return Outcome(number, list(overrides), Path(), {}, value, {metric: value}, 1.0, error)


def test_ranking():
    nan = float("nan")
    rows = rank(
        [
            outcome(0, 0.5, "lr=1", "seed=1", "epochs=3"),
            outcome(1, 0.7, "lr=1", "seed=2", "epochs=3"),
            outcome(2, 0.9, "lr=2", "seed=1", "epochs=3"),
            outcome(3, nan, "lr=2", "seed=2", "epochs=3", error="bad"),
            outcome(4, nan, "lr=3", "seed=1", "epochs=3", error="bad"),
        ]
    )
    assert [row.label for row in rows] == ["lr=2", "lr=1", "lr=3"]
    assert rows[1].mean == pytest.approx(0.6) and rows[1].std == pytest.approx(0.2 / 2**0.5)
    assert rows[0].jobs == [2, 3] and rows[0].values == [0.9]
    losses = rank([outcome(0, 0.5, "lr=1", metric="val/loss"), outcome(1, 0.4, "lr=2", metric="val/loss")])
    assert [row.label for row in losses] == ["lr=2", "lr=1"]
