import io
import json
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console

from cnntrain.engine import progress, report
from cnntrain.engine.clock import Clock
from cnntrain.engine.progress import Progress
from cnntrain.engine.report import Report
from cnntrain.engine.run import Run


@pytest.fixture
def now(monkeypatch):
    """Time passes only where the test says so."""
    time = [100.0]
    monkeypatch.setattr(report.time, "perf_counter", lambda: time[0])
    return time


class State:
    """As much of it as the report asks."""

    step = epoch = 1

    def take(self, name):
        return {"loss": 1.0, "accuracy": 0.5}

    def check_finite(self):
        pass


def steps(reporter, now, *, works, waits=0.0, sizes=None):
    """Steps that work so many seconds each."""

    def batches():
        for size in sizes or [10] * len(works):
            now[0] += waits
            yield torch.zeros(size), torch.zeros(size), torch.zeros(size)

    for _, work in zip(reporter.waiting(batches()), works, strict=True):
        now[0] += work


@contextmanager
def reporting(folder):
    with Run(folder, config={}) as run:
        clock = Clock(num_samples=100, batch_size=10, epochs=1)
        yield Report(run=run, clock=clock, schedule=lambda step: {"lr": 1.0}, every="5it", tensorboard=False, progress="lines")


def told(tmp_path):
    return (tmp_path / "train.log").read_text()


def test_the_first_step_counts_in_no_speed_and_is_named(now, tmp_path, capsys):
    with reporting(tmp_path) as reporter:
        steps(reporter, now, works=[31.0, 0.5, 0.5, 0.5])
        reporter.training(State(), {"lr": 1.0}, torch.tensor(1.0))
        assert "it took 31.00 s (compilation, choice of kernels), a later one 0.500 s" in capsys.readouterr().out
        reporter.training(State(), {"lr": 1.0}, torch.tensor(1.0))
        assert told(tmp_path).count("31.00 s") == 1
        assert reporter.pace() == "20 images/s while training · 0 % waiting for data"
        assert reporter.run.facts["seconds_to_first_step"] >= 0
        reporter.run.status("running")
        assert json.loads((tmp_path / "status.json").read_text())["seconds_to_first_step"] >= 0


def test_a_first_step_like_the_others_is_only_in_the_log(now, tmp_path, capsys):
    with reporting(tmp_path) as reporter:
        steps(reporter, now, works=[2.0, 0.5, 0.5])
        reporter.evaluation(State(), None, best=False)
        assert "2.00 s" not in capsys.readouterr().out and "it took 2.00 s" in told(tmp_path)


def test_a_run_of_one_step_has_its_speed(now, tmp_path):
    with reporting(tmp_path) as reporter:
        steps(reporter, now, works=[2.0])
        assert reporter.pace().startswith("5 images/s")


def test_a_smaller_last_batch_counts_what_it_has_but_for_its_first_time(now, tmp_path):
    with reporting(tmp_path) as reporter:
        steps(reporter, now, works=[9.0, 9.0, 1.0, 1.0], sizes=[10, 2, 10, 2])
        assert reporter.pace().startswith("6 images/s")


def test_the_share_of_waiting_is_in_every_line_of_the_log(now, tmp_path, capsys):
    with reporting(tmp_path) as reporter:
        steps(reporter, now, works=[1.0, 0.7, 0.7], waits=0.3)
        reporter.evaluation(State(), None, best=True)
        assert "best  30 % waiting for data" in told(tmp_path)
        assert reporter.pace().endswith("30 % waiting for data")
        assert "30 %" not in capsys.readouterr().out, "which has 80 columns"


def test_the_bar_fits_and_has_it_too(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", lambda: Console(file=text, force_terminal=True, width=80))
    bar = Progress(Clock(num_samples=10000, batch_size=1, epochs=100), "bar")
    bar.start()
    bar.step(999_999, {"train/loss": 12.345, "optimizer/lr": 1.2e-05, "speed/images_per_second": 123456.7, "speed/waiting_for_data": 0.999})
    bar.stop()
    assert "loss 12.345 · lr 1.2e-05 · 123,457 img/s · data 100 %" in text.getvalue()
