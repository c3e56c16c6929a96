import gzip
import inspect
import json
import typing

import pytest
import torch

from cnntrain.engine import profile as profiles
from cnntrain.engine.loop import fit
from cnntrain.engine.profile import ACTS, LAST, OTHER, OWN, TRACE, NoProfile, Profile
from cnntrain.engine.progress import as_text

CPU = torch.device("cpu")


class Clock:
    """Time passes only where somebody works."""

    def __init__(self):
        self.now = 0.0

    def work(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(profiles.time, "perf_counter", lambda: clock.now)
    return clock


def acts_of(clock):
    """Arguments as the loop is given them, each call of which takes a known time; backward calls the objective, as ours does."""

    class Train:
        def epoch(self, steps):
            for step in range(steps):
                clock.work(1)
                yield step

    class Objective:
        monitor = "accuracy"

        def __call__(self):
            clock.work(10)
            return "loss"

    class Precision:
        def backward(self, objective):
            clock.work(5)
            loss = objective()
            clock.work(15)
            return loss

        def step(self):
            clock.work(4)

    class Report:
        def waiting(self, batches):
            yield from batches

        def first_batch(self):
            clock.work(0)

        def training(self):
            clock.work(2)

        def evaluation(self):
            clock.work(0)

    class Saving:
        last_step = 7

        def save(self):
            clock.work(3)
            return "a warning"

    def validate(model):
        clock.work(50)
        return model

    return {
        "train": Train(),
        "objective": Objective(),
        "precision": Precision(),
        "report": Report(),
        "saving": Saving(),
        "validate": validate,
    }


def loop(clock, *, train, objective, precision, report, saving, validate):
    for _ in report.waiting(train.epoch(3)):
        clock.work(0.5)
        assert precision.backward(objective) == "loss" and objective.monitor == "accuracy"
        precision.step()
        report.training()
    assert saving.save() == "a warning" and saving.last_step == 7
    assert validate("model") == "model"


def test_each_act_is_given_its_own_time_and_no_other(tmp_path, clock):
    profile = Profile(tmp_path)
    with profile.watching(CPU, 3) as watched:
        loop(clock, **watched(**acts_of(clock)))
        with pytest.raises(ValueError), profile.act("forward"):
            clock.work(1)
            raise ValueError
    found = {act: seconds for act, seconds in profile.seconds.items() if seconds}
    assert found == {
        "data: next batch, augmented ahead": 3,
        "forward": 31,
        "backward": 60,
        "optimizer": 12,
        "logging": 6,
        "evaluation": 50,
        "checkpoint": 3,
        OTHER: 1.5,
    }
    assert profile.total == sum(found.values()) == clock.now and profile.steps == 3


def test_the_table_fits_and_adds_up(tmp_path, clock):
    profile = Profile(tmp_path)
    assert profile.table() is None
    with profile.watching(CPU, 3) as watched:
        loop(clock, **watched(**acts_of(clock)))
    lines = as_text(profile.table()).splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line[:36].strip(): line[36:].split() for line in lines if line.endswith(tuple("0123456789")) and "%" in line}
    assert rows["backward"] == ["60.00", f"{100 * 60 / 165.5:.1f}", "%", "20000.00"] and rows["training"][:2] == ["165.50", "100.0"]
    assert sum(float(row[0]) for act, row in rows.items() if act != "training") == pytest.approx(165.5)
    assert set(rows) == {*profile.seconds, "training"}


def test_off_the_loop_is_given_the_acts_themselves(tmp_path, clock):
    acts = acts_of(clock)
    with NoProfile().watching(CPU, 3) as watched:
        given = watched(**acts)
    assert all(given[name] is act for name, act in acts.items()) and NoProfile().table() is None


def test_what_is_watched_is_what_the_loop_calls():
    given = inspect.signature(fit).parameters
    hints = typing.get_type_hints(fit)
    source = inspect.getsource(fit)
    for name, acts in ACTS.items():
        assert name in given
        for called in acts:
            assert f"{name}.{called}(" in source if called else f"{name}(" in source or f"({name}," in source, (name, called)
            assert not called or callable(getattr(hints[name], called))


@pytest.mark.parametrize(("steps", "traced"), [(30, 10), (6, 3), (2, 1)])
def test_the_trace_is_of_some_steps_with_the_acts_as_ranges(tmp_path, clock, steps, traced):
    profile = Profile(tmp_path)
    with profile.watching(CPU, steps) as watched:
        acts = watched(**acts_of(clock))
        for _ in acts["train"].epoch(steps):
            acts["precision"].backward(acts["objective"])
            torch.ones(3).sum()
            acts["precision"].step()
    assert TRACE.endswith(".pt.trace.json.gz")
    with gzip.open(tmp_path / TRACE) as file:
        events = json.load(file)["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert names.count("forward") == names.count(LAST) == traced
    assert any(event["name"] == "aten::sum" for event in events)


def test_a_full_disk_ends_no_training(tmp_path, clock):
    profile = Profile(tmp_path / "gone")
    with profile.watching(CPU, 3) as watched:
        loop(clock, **watched(**acts_of(clock)))
    assert profile.total and OWN in profile.seconds
