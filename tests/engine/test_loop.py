import json
import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from workload import Killed, fingerprint, train

from cnntrain.engine import checkpoint
from cnntrain.engine.signals import Signals
from cnntrain.errors import DivergedError, Interrupted

PLAIN = {"every": "1it"}
STEPS = 51


def train_with_kills(folder, places, **options):
    for place in places:
        with pytest.raises(Killed):
            train(folder, kill_at=place, **options)
    return train(folder, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder, **PLAIN)
    return fingerprint(folder)


@pytest.mark.parametrize("place", [1, 9, 16, 17, 18, 34, 50])
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, whole, place):
    train_with_kills(tmp_path, [place], **PLAIN)
    assert fingerprint(tmp_path) == whole


def test_many_kills_change_nothing(tmp_path, whole):
    seed = int(os.environ.get("CNNTRAIN_TEST_SEED", "0"))
    print(f"seed {seed}")
    places = sorted(random.Random(seed).sample(range(1, STEPS), 12))
    train_with_kills(tmp_path, places, **PLAIN)
    assert fingerprint(tmp_path) == whole


@pytest.mark.parametrize("every", [1, "7it", 2])
def test_steps_since_the_last_save_are_done_again_the_same_way(tmp_path, whole, every):
    folders = [tmp_path / "a", tmp_path / "b"]
    train(folders[0], every=every)
    train_with_kills(folders[1], [20, 23, 44], every=every)
    assert fingerprint(folders[0]) == fingerprint(folders[1]) == whole


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam", "average": "ema"},
        {"optimizer": "adamw", "clip": 0.5},
        {"optimizer": "rmsprop", "microbatch": 3},
        {"optimizer": "fused_sgd", "average": "ema", "clip": 0.1},
        {"optimizer": "fused_adamw", "microbatch": 5},
        {"average": "lookahead"},
        {"optimizer": "fused_sgd", "average": "lookahead", "epochs": "40it"},
        {"average": "swa"},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"patience": 1, "epochs": 6},
        {"epochs": "30it"},
        {"val": False},
    ],
    ids=str,
)
def test_every_part_resumes_exactly(tmp_path, options):
    train(tmp_path / "a", **PLAIN, **options)
    end = checkpoint.read(tmp_path / "a" / "last.safetensors").meta["step"]
    train_with_kills(tmp_path / "b", [5, 17, end - 2], **PLAIN, **options)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


def test_a_kill_between_the_last_step_and_the_evaluation(tmp_path, whole, monkeypatch):
    import workload

    real, seen = workload.evaluate, []

    def dies_once(*args, **options):
        seen.append(1)
        if len(seen) == 2:
            raise Killed
        return real(*args, **options)

    monkeypatch.setattr(workload, "evaluate", dies_once)
    with pytest.raises(Killed):
        train(tmp_path, **PLAIN)
    train(tmp_path, **PLAIN)
    assert fingerprint(tmp_path) == whole


def test_another_seed_is_another_run(tmp_path, whole):
    train(tmp_path, seed=6, **PLAIN)
    assert fingerprint(tmp_path) != whole


def test_training_longer_goes_on_within_a_partial_epoch(tmp_path):
    train(tmp_path, epochs="20it", **PLAIN)
    state = train(tmp_path, epochs=3, **PLAIN)
    assert (state.step, state.epoch) == (STEPS, 3)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps.count(51) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("place", [3, 16])
def test_a_signal_saves_the_current_step_and_leaves(tmp_path, whole, number, place, request):
    # a suite that was started by nohup, or by a shell's &, ignores some of them, and so would the run
    before = signal.signal(number, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(number, before))
    with pytest.raises(Interrupted) as left:
        train(tmp_path, on_step=lambda step: os.kill(os.getpid(), number) if step == place else None)
    assert left.value.exit_code == 128 + number and "cnntrain resume run=" in str(left.value)
    assert checkpoint.read(tmp_path / "last.safetensors").meta["step"] == place + 1
    train(tmp_path)
    assert fingerprint(tmp_path) == whole
    assert signal.getsignal(number) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_of_training_ends_it_at_once(number):
    with pytest.raises(Interrupted, match="outside of training") as left, Signals():
        os.kill(os.getpid(), number)
    assert left.value.exit_code == 128 + number


def test_a_second_ctrl_c_ends_it_without_waiting(tmp_path):
    code = (
        "import os, signal\nfrom cnntrain.engine.signals import Signals\nwith Signals() as signals, signals.holding():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    assert signals.pending == signal.SIGINT\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT and "still here" not in done.stdout


def test_sigusr1_saves_and_goes_on(tmp_path, whole):
    seen = []

    def on_step(step):
        if step == 7:
            os.kill(os.getpid(), signal.SIGUSR1)
        if step == 8:
            seen.append(checkpoint.read(tmp_path / "last.safetensors").meta["step"])

    train(tmp_path, on_step=on_step)
    assert seen == [8] and fingerprint(tmp_path) == whole


def test_a_signal_ends_an_evaluation_at_once_and_the_resume_makes_up_for_it(tmp_path, whole, monkeypatch):
    import workload

    def interrupted(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the evaluation went on")

    monkeypatch.setattr(workload, "evaluate", interrupted)
    with pytest.raises(Interrupted):
        train(tmp_path, **PLAIN)
    monkeypatch.undo()
    assert checkpoint.read(tmp_path / "last.safetensors").meta["epoch"] == 0
    train(tmp_path, **PLAIN)
    assert fingerprint(tmp_path) == whole


def test_a_gradient_that_is_not_finite_changes_no_weight_and_is_not_saved(tmp_path):
    with pytest.raises(DivergedError, match=r"nan in step 21.*learning rate"):
        train(tmp_path, poison=20, **PLAIN)
    kept = checkpoint.read(tmp_path / "last.safetensors")
    assert kept.meta["step"] == 20
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values() if tensor.is_floating_point())


def test_best_is_the_argmax_of_the_log_and_never_gets_worse(tmp_path):
    train_with_kills(tmp_path, [18, 35], epochs=6)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    judged = [(row["val/accuracy"], -row["val/loss"], -row["step"]) for row in rows if "val/accuracy" in row]
    best = checkpoint.read(tmp_path / "best.safetensors").meta
    assert (best["metrics"]["accuracy"], -best["metrics"]["loss"], -best["step"]) == max(judged)


def test_a_full_disk_is_a_warning_until_the_third_time(tmp_path, monkeypatch, capsys):
    from cnntrain.engine import saving
    from cnntrain.errors import CheckpointError

    real, calls = saving.checkpoint.write, []

    def fails(*args, **options):
        calls.append(1)
        if len(calls) in (2, 3, 5, 6, 7):
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(saving.checkpoint, "write", fails)  # at steps 2, 3 (a warning each), then 5, 6, 7
    with pytest.raises(CheckpointError, match="3 times in a row: No space left"):
        train(tmp_path, **PLAIN)
    assert len(calls) == 7 and checkpoint.read(tmp_path / "last.safetensors").meta["step"] == 4
    assert (tmp_path / "train.log").read_text().count("warning: checkpoint at step") == 4


def test_a_disk_that_is_full_at_the_end_is_not_a_run_that_is_done(tmp_path, monkeypatch):
    from cnntrain.engine import saving
    from cnntrain.errors import CheckpointError

    def fails(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.checkpoint, "write", fails)
    with pytest.raises(CheckpointError, match="at the run's end: No space left"):
        train(tmp_path, epochs=1, every=9)


def test_a_best_that_could_not_be_saved_is_none(tmp_path, monkeypatch):
    from cnntrain.engine import saving

    real = saving.checkpoint.write
    seen = []

    def fails_once(*args, **options):
        seen.append(options["also"])
        if len(seen) == 1:
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(saving.checkpoint, "write", fails_once)
    state = train(tmp_path)
    best = checkpoint.read(tmp_path / "best.safetensors").meta
    assert seen[0] is not None and best["best"]["best"] == best["metrics"]["accuracy"] == state.judge.best and best["step"] > 17


def test_a_kill_between_best_and_last_leaves_a_best_that_the_resume_makes_again(tmp_path, whole, monkeypatch):
    from cnntrain.engine import storage

    real = os.replace

    def dies(old, new):
        if str(new).endswith("last.safetensors") and (tmp_path / "best.safetensors").exists():
            raise Killed
        real(old, new)

    monkeypatch.setattr(storage.os, "replace", dies)
    with pytest.raises(Killed):
        train(tmp_path, every=1)
    monkeypatch.undo()
    train(tmp_path, every=1)
    assert fingerprint(tmp_path) == whole
    best = checkpoint.read(tmp_path / "best.safetensors").meta
    assert best["metrics"]["accuracy"] == best["best"]["best"]


def test_a_loss_that_is_not_finite_is_never_kept_even_where_no_gradient_is_checked():
    from cnntrain.engine.state import State

    state = object.__new__(State)
    state.step, state.sums = 7, {"epoch": torch.tensor([float("nan"), 0.0, 1.0])}
    with pytest.raises(DivergedError, match="the loss is nan by step 7"):
        state.check_finite()
