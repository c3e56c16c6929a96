import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_verb import lay_out
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from cnntrain import cli
from cnntrain import sweep as sweeping
from cnntrain.config.find import shipped
from cnntrain.job import Job, Limits
from cnntrain.sweep import Sweep, jobs_at_once, num_cores
from hydra_plugins.cnntrain_launcher import processes
from hydra_plugins.cnntrain_launcher.outcome import Outcome
from hydra_plugins.cnntrain_launcher.ranking import rank, show

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(shipped().parent)}
COMMAND = [sys.executable, "-m", "cnntrain", "fake", "-m"]


def sweep(folder, *words):
    return subprocess.run([*COMMAND, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=250, check=False)


def status(folder):
    return json.loads((folder / "status.json").read_text())


def test_one_jobs_failure_is_its_own(tmp_path):
    lay_out(tmp_path)
    words = ["how=fine,raise,exit,kill,hang,train", "sweep.job_timeout=4", "sweep.parallel=2", "hydra.sweep.dir=here"]
    done = sweep(tmp_path, *words)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].startswith("error: 4 of 6 jobs failed (here). Fix: see here/1_how=raise/console.log")
    folders = {path.name.partition("=")[2]: path for path in (tmp_path / "here").glob("*_how=*")}
    assert {name: status(path)["state"] for name, path in folders.items()} == {
        "fine": "done", "train": "done", "raise": "failed", "exit": "failed", "kill": "failed", "hang": "interrupted",
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


TWICE = """\
from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper

NODE = {"_target_": "hydra_plugins.twice.Twice", "x": 0.5}
ConfigStore.instance().store(group="hydra/sweeper", name="twice", node=NODE, provider="twice")

class Twice(Sweeper):
    def __init__(self, x):
        self.x = x
    def setup(self, *, hydra_context, task_function, config):
        from hydra.core.plugins import Plugins
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config)
    def sweep(self, arguments):
        first = self.launcher.launch([[*arguments, f"x={self.x}"]], initial_job_idx=0)
        self.launcher.launch([[*arguments, f"x={first[0].return_value / 2}"]], initial_job_idx=1)
"""


def test_a_sweeper_of_the_users_own_chooses_as_it_goes(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "hydra_plugins" / "twice").mkdir(parents=True)
    (tmp_path / "hydra_plugins" / "twice" / "__init__.py").write_text(TWICE)
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}{os.pathsep}{tmp_path}"}
    words = ["hydra/sweeper=twice", "hydra.sweeper.x=0.8", "seed=0"]
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    values = [status(folder)["value"] for folder in sorted((tmp_path / "outputs/sweep").glob("[01]*"))]
    assert values == [0.8, 0.4]


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Sweeps of the fake verb, without running their jobs: the jobs, how often Hydra composed, the folders' names."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    composed, jobs, folders = [], [], []
    by_hydra = ConfigLoaderImpl.load_configuration

    def counting(self, *args, **keys):
        composed.append(keys.get("overrides"))
        return by_hydra(self, *args, **keys)

    def launch(self, batch, *, first, start):
        jobs.extend(batch)
        self.outcomes = [outcome(number, 0.5, *words) for number, words in enumerate(batch)]
        folders.extend(self._place(number, words)[0].name for number, words in enumerate(batch))
        return self.outcomes

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counting)
    monkeypatch.setattr(Sweep, "launch", launch)

    def run(*words):
        for found in (composed, jobs, folders):
            found.clear()
        assert cli.main(["fake", "-m", *words]) == 0
        return list(jobs), len(composed), list(folders)

    yield run
    sys.modules.pop("faketask", None)


def test_hydra_composes_a_sweep_no_more_often_for_more_jobs(launched):
    counts = [launched(f"seed={','.join(map(str, range(number)))}", "x=0.1,0.2", "hydra.sweep.dir=here")[1] for number in (2, 9)]
    assert counts[0] == counts[1] <= 3


def test_hydras_own_words_count_in_every_job(launched):
    jobs, _, folders = launched("x=0.1,0.2", "hydra.sweep.subdir=of_${hydra.job.override_dirname}", "hydra.sweeper.max_batch_size=null")
    assert jobs == [["x=0.1"], ["x=0.2"]]
    assert folders == ["of_x=0.1", "of_x=0.2"]


@pytest.mark.parametrize(
    ("parallel", "machine", "jobs", "at_once"),
    [
        ("auto", {}, 9, 8),
        ("auto", {}, 3, 3),
        ("auto", {"threads": 3}, 9, 2),
        ("auto", {"threads": 99}, 9, 1),
        (5, {"threads": 3}, 2, 5),
    ],
)
def test_jobs_at_once_follow_cores(monkeypatch, parallel, machine, jobs, at_once):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sweeping, "usable_cores", lambda: 8)
    monkeypatch.setattr(sweeping, "available_memory", lambda: 2**40)
    monkeypatch.setattr(processes, "num_gpus", lambda: 0)
    assert jobs_at_once(Limits(parallel=parallel), machine, jobs) == at_once


def test_jobs_at_once_follow_gpus_memory_and_the_users_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sweeping, "usable_cores", lambda: 8)
    monkeypatch.setattr(sweeping, "available_memory", lambda: 7 * 2**30)
    monkeypatch.setattr(processes, "num_gpus", lambda: 4)
    assert jobs_at_once(Limits(), {"device": "auto", "threads": None}, 9) == 4
    assert jobs_at_once(Limits(), {"device": "cpu"}, 9) == 3  # 2 GiB each
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert jobs_at_once(Limits(), {"device": "cpu"}, 9) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert num_cores() == 8


def test_threads_that_the_sweep_gave_are_no_part_of_the_job(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(lay_out(tmp_path))
    part = {"_target_": "faketask.Part", "depth": 3}
    tree = {"_target_": "faketask.fake", "part": part, "x": 0.5, "seed": 0, "how": "fine", "machine": {"threads": None}}
    jobs = [Job.of(tree, threads=lambda limits, machine, number=number: number) for number in (1, 2)]
    assert [job.config["machine"]["threads"] for job in jobs] == [1, 2]
    assert sweeping._as_json(jobs[0]) == sweeping._as_json(jobs[1]) == tree
    asked = Job.of({**tree, "machine": {"threads": 1}}, threads=lambda *_: 2)
    assert asked.share is None and sweeping._as_json(asked)["machine"]["threads"] == 1


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


def test_what_has_no_validation_is_not_ranked_and_the_reason_said(capsys):
    nan = float("nan")
    train, other = {"_target_": "cnntrain.task.train.train"}, {"_target_": "cnntrain.task.evaluate.evaluate"}
    alone = [outcome(number, nan, f"lr={number}")._replace(config=train, metrics={"test/accuracy": number / 10}) for number in (3, 1, 2)]
    show(alone, Path())
    said = capsys.readouterr().out
    assert "nothing is ranked: nothing was held out for validation" in said and "nan" not in said and "3 of 3 jobs done" in said
    assert [line.split()[:4] for line in said.splitlines() if "lr=" in line] == [["–", f"lr={k}", str(k), "–"] for k in (3, 1, 2)]
    show([alone[0], outcome(1, 0.5, "lr=9")._replace(config=train)], Path())
    assert "not ranked: lr=3: nothing was held out" in capsys.readouterr().out
    show([alone[0]._replace(config=other)], Path())
    assert "nothing is ranked: it gave no figure to rank by" in capsys.readouterr().out
