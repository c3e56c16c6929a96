"""``nan=rollback``: back to the last point with half the learning rate, three times at most, and exact whatever kills the run."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from faults import quick
from faults.quick import go_on
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from workload import fingerprint

from cnntrain.engine import checkpoint, rollback
from cnntrain.engine.precision import Precision
from cnntrain.engine.run import Run
from cnntrain.engine.saving import Saving
from cnntrain.errors import CheckpointError, DivergedError, Interrupted

EPOCH = 4  # steps
SMALL = (
    "model=lenet5 data=synthetic data.image_size=12 data.channels=1 data.samples=67 data.test_samples=20 data.classes=4 epochs=3 "
    "batch_size=16 schedule=constant optimizer.lr=0.04 report.every=3it checkpoint.minutes=0 machine.threads=1 machine.device=cpu "
    "report.progress=off report.tensorboard=false"
).split()


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the process's memory is left."""


def start(name, *words):
    return quick.start(name, *SMALL, "nan=rollback", *words)


def rows(name):
    return [json.loads(line) for line in Path(name, "metrics.jsonl").read_text().splitlines()]


def status(name):
    return json.loads(Path(name, "status.json").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def diverging(monkeypatch):
    """A gradient of NaN at ``step`` (from 0) as long as the learning rate is over ``bound``."""

    def diverge(step, bound, *, patch=monkeypatch):
        real = Precision.step

        def poisoned(self, place):
            if place == step and self.optimizer.param_groups[0]["lr"] > bound:
                next(p for p in self.parameters if p.grad is not None).grad.fill_(float("nan"))
            return real(self, place)

        patch.setattr(Precision, "step", poisoned)

    return diverge


def test_a_run_without_trouble_is_the_same_as_with_stop(fault):
    start("a"), start("b", "nan=stop")
    assert fingerprint(Path("a")) == fingerprint(Path("b")) and "rollbacks" not in status("a")
    fault("E2", "rollback without trouble")


ORACLES = {}


@pytest.mark.parametrize(
    ("step", "bound", "words", "points"),
    [
        (0, 0.03, [], [0]),
        (3, 0.03, [], [0]),
        pytest.param(4, 0.03, [], [4], marks=pytest.mark.slow),
        (10, 0.03, [], [8]),
        pytest.param(10, 0.015, [], [8, 8], marks=pytest.mark.slow),
        (10, 0.006, [], [8, 8, 8]),
        pytest.param(11, 0.03, [], [8], marks=pytest.mark.slow),
        pytest.param(10, 0.03, ["checkpoint.every=2"], [8], marks=pytest.mark.slow),  # each epoch's end is a point, saved or not
        (11, 0.03, ["checkpoint.every=5it"], [10]),
        (6, 0.03, ["checkpoint.every=5it"], [5]),
        (10, 0.03, ["checkpoint.every=2", "data.val=0"], [10]),  # 5 steps an epoch
    ],
    ids=str,
)
def test_it_goes_on_from_the_last_point_as_if_the_rate_had_been_halved_there(diverging, monkeypatch, fault, step, bound, words, points):
    """The oracle: a run that never diverges, whose schedule itself halves at those steps."""
    with monkeypatch.context() as patch:
        diverging(step, bound, patch=patch)
        start("a", *words)
    val = [word for word in words if word.startswith("data")]
    if (expected := ORACLES.get((*points, *val))) is None:
        with monkeypatch.context() as patch:
            patch.setattr(rollback.State, "lr_factor", lambda self, place: 0.5 ** sum(place >= point for point in points))
            start("b", *val)
        expected = ORACLES[(*points, *val)] = fingerprint(Path("b"))
    assert fingerprint(Path("a")) == expected
    assert checkpoint.read("a/last.safetensors").meta["rollbacks"] == status("a")["rollbacks"] == points
    steps = [row["step"] for row in rows("a")]
    assert steps == sorted(steps) and len(set(map(json.dumps, rows("a")))) == len(steps)
    for row in rows("a"):
        if "optimizer/lr" in row:
            factor = 0.5 ** sum(row["step"] > point for point in points)
            assert row["optimizer/lr"] == 0.04 * factor and row.get("optimizer/lr_factor", 1) == factor
    log = Path("a/train.log").read_text()
    for count, point in enumerate(points, start=1):
        assert f"Back to step {point} (rollback {count} of 3): from there the learning rate is the schedule's times {0.5**count:g}" in log
    fault("E2", f"rollback from step {step + 1} to {points} {' '.join(words)}")


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=adamw", "average=ema"],
        ["optimizer=rmsprop", "average=swa", "average.start=1it", "average.every=2it"],
        ["optimizer=muon", "average=lookahead", "augment=[mixup,noise]"],
        pytest.param(["optimizer=adam", "machine.precision=bf16", "clip=1", "microbatch=7"], marks=pytest.mark.slow),
        ["stopping.patience=4", "optimizer.momentum=0"],
        pytest.param(
            ["model=speedrun", "model.widths=[4,4,4]", "weights=whitened", "data.channels=3", "schedule=one_cycle"], marks=pytest.mark.slow
        ),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("step", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_every_part_goes_back(monkeypatch, fault, words, step):
    """By its own count of rollbacks, as the rates differ; a first step's optimizer has no state yet, which must be gone again."""
    words = [*words, "optimizer.lr=0.002"]
    real, made = Precision.step, []

    def poisoned(self, place):
        if place == step and not made:
            made.append(place)
            next(p for p in self.parameters if p.grad is not None).grad.fill_(float("inf"))
        return real(self, place)

    with monkeypatch.context() as patch:
        patch.setattr(Precision, "step", poisoned)
        start("a", *words)
    point = step // EPOCH * EPOCH
    with monkeypatch.context() as patch:
        patch.setattr(rollback.State, "lr_factor", lambda self, place: 0.5 if place >= point else 1.0)
        start("b", *words)
    assert made and fingerprint(Path("a")) == fingerprint(Path("b"))
    fault("E2", f"rollback of {' '.join(words)} to step {point}")


def test_what_only_the_evaluation_sees_goes_back_too(monkeypatch, fault):
    """A weight that becomes infinite by the epoch's last step."""
    real = Precision.step

    def overflows(self, place):
        norm = real(self, place)
        if place == 2 * EPOCH - 1 and self.optimizer.param_groups[0]["lr"] > 0.03:
            self.parameters[-1].data.fill_(float("inf"))
        return norm

    monkeypatch.setattr(Precision, "step", overflows)
    start("a")
    assert status("a")["state"] == "done" and status("a")["rollbacks"] == [EPOCH]
    fault("E2", "rollback from an evaluation")


def test_the_fourth_time_it_ends(diverging, fault, monkeypatch):
    diverging(10, 0.004)
    with pytest.raises(
        DivergedError, match=r"in step 11 at learning rate 0\.005; .* is that of step 8.*Fix: cnntrain resume run=a"
    ) as error:
        start("a")
    assert error.value.exit_code == 5 and status("a")["state"] == "failed" and status("a")["rollbacks"] == [8, 8, 8]
    with pytest.raises(DivergedError):
        go_on("a")
    go_on("a", "optimizer.lr=0.004")  # the fix
    assert status("a")["state"] == "done" and status("a")["rollbacks"] == [8, 8, 8]
    fault("E2", "a fourth divergence")


def test_tensorboard_goes_back_and_shows_the_factor(diverging, fault):
    diverging(10, 0.03)
    start("a", "report.tensorboard=true", "report.every=1it", "report.images=0")
    events = EventAccumulator("a", size_guidance={"scalars": 0}).Reload()
    rates = events.Scalars("optimizer/lr")
    assert [event.step for event in rates] == list(range(1, 13))
    assert [event.value for event in rates] == pytest.approx([0.04] * 8 + [0.02] * 4)
    assert {event.step for event in events.Scalars("optimizer/lr_factor")} == set(range(9, 13))
    fault("E2", "rollback with TensorBoard")


WHOLE = {}  # what a run leaves that is put back twice, at step 10 (from 0) to 8, and nobody kills


@pytest.fixture
def whole(diverging):
    diverging(9, 0.015)
    if not WHOLE:
        start("whole")
        assert status("whole")["rollbacks"] == [8, 8]
        WHOLE["hash"] = fingerprint(Path("whole"))
    return WHOLE["hash"]


def dying(monkeypatch, owner, name, *, call, after):
    """The process dies at the ``call``-th call of a function, before or after it."""
    real, calls = getattr(owner, name), []

    def die(*args, **options):
        calls.append(name)
        if len(calls) == call and not after:
            raise Killed
        result = real(*args, **options)
        if len(calls) == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, die)


@pytest.mark.parametrize(
    ("call", "after"),
    [(1, False), pytest.param(1, True, marks=pytest.mark.slow), pytest.param(2, False, marks=pytest.mark.slow), (2, True)],
)
@pytest.mark.parametrize(
    ("owner", "name"),
    [(rollback.Rollback, "back"), (rollback.checkpoint, "read"), (rollback.Points, "name_point"), (Run, "cut_back")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kill_within_a_rollback_changes_nothing(whole, monkeypatch, fault, owner, name, after, call):
    with monkeypatch.context() as patch:
        dying(patch, owner, name, call=call, after=after)
        with pytest.raises(Killed):
            start("a")
    go_on("a")
    assert fingerprint(Path("a")) == whole and status("a")["rollbacks"] == [8, 8]
    fault("A4", f"a kill {'after' if after else 'before'} call {call} of {name} in a rollback")


def test_kills_at_random_steps_and_saves_at_any_time_change_nothing(whole, monkeypatch, fault, chance):
    """Saves by a signal or by the clock come at other steps in every life; no rollback goes to one."""
    real = Precision.step
    ways = {place: chance.choice(["kill", "SIGTERM", "SIGUSR1", "clock"]) for place in chance.sample(range(1, 12), 7)}
    done = set()

    def disturbed(self, place):
        norm = real(self, place)
        way = ways.get(place)
        if way is not None and place not in done:
            done.add(place)
            if way == "kill":
                raise Killed
            if way == "clock":
                saves_now.append(place)
            else:
                os.kill(os.getpid(), getattr(signal, way))
        return norm

    saves_now = []
    due = Saving.due

    def due_now(self, state):
        return due(self, state) or (bool(saves_now) and not saves_now.clear())

    monkeypatch.setattr(Precision, "step", disturbed)
    monkeypatch.setattr(Saving, "due", due_now)
    for life in range(20):
        try:
            go_on("a") if life else start("a")
            break
        except (Killed, Interrupted):
            continue
    assert done == set(ways) and fingerprint(Path("a")) == whole
    fault("A4", f"chained kills, signals and timed saves around rollbacks: {sorted(ways.items())}")


def test_a_run_begun_with_stop_can_go_on_with_rollback(diverging, fault):
    diverging(10, 0.03)
    with pytest.raises(DivergedError):
        start("a", "nan=stop", "checkpoint.every=3it")
    assert not Path("a/rollback.safetensors").exists()
    go_on("a", "nan=rollback")
    assert status("a")["state"] == "done" and status("a")["rollbacks"] == [9]
    fault("E2", "rollback chosen at the resume")


def test_a_damaged_point_is_told(diverging, monkeypatch, fault):
    diverging(10, 0.03)
    real = rollback.Rollback.back

    def back(self, state, error):
        path = Path("a/rollback.safetensors")
        damaged = path.read_bytes()[:-9]
        path.unlink()
        path.write_bytes(damaged)
        real(self, state, error)

    monkeypatch.setattr(rollback.Rollback, "back", back)
    with pytest.raises(CheckpointError, match="rollback.safetensors.*damaged") as error:
        start("a")
    assert error.value.exit_code == 4
    fault("E2", "a point that is damaged")


def test_the_average_of_before_is_forgotten():
    """A mean of infinite weights must not survive as ``0 · inf`` in the first update after a rollback to before its start."""
    from cnntrain.engine.average import Swa
    from cnntrain.engine.clock import Clock

    model = torch.nn.Linear(2, 2)
    swa = Swa(model=model, clock=Clock(num_samples=40, batch_size=4, epochs=1), start="2it", every="1it")
    for value in swa._mean.parameters():
        value.fill_(float("inf"))
    swa.go_to(0)
    swa.update(3)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(swa.model.parameters(), model.parameters(), strict=True))
