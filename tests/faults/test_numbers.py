"""Numbers that go wrong: what is not finite, values that cannot train, batches that are too small, and results that must not move."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from data.pictures import make_folder
from faults import quick
from workload import Net, fingerprint, train

from cnntrain import cli
from cnntrain.config.recipe import check
from cnntrain.engine import checkpoint
from cnntrain.engine.precision import Precision
from cnntrain.errors import ConfigError, DivergedError

NAN, INF = math.nan, math.inf
CONF = Path(__file__).parents[2] / "conf"
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
SMALL = (
    "model=lenet5 data=synthetic data.image_size=12 data.channels=1 data.samples=67 data.test_samples=20 data.classes=4 epochs=2 "
    "batch_size=16 machine.threads=1 machine.device=cpu report.progress=off report.tensorboard=false"
).split()


def finite(path):
    return all(value.isfinite().all() for value in checkpoint.read(path).tensors.values() if value.is_floating_point())


# E1: in a run of 17 steps, the report every 5th, at the first step, in the middle and at the last.


def poisoned_loss(bad):
    """The loss itself and what is told of it; the gradients too where ``bad`` is a factor."""

    def loss(precision, objective, model, inputs, targets, go):
        def broken(*batch):
            value, stats = objective(*batch)
            return value * bad, {**stats, "loss_sum": stats["loss_sum"] * bad}

        return go(precision, broken, model, inputs, targets)

    return loss


def poisoned_statistic(precision, objective, model, inputs, targets, go):
    """A loss that is not finite though its gradients are: a constant is added to it."""

    def broken(*batch):
        value, stats = objective(*batch)
        return value + NAN, {**stats, "loss_sum": stats["loss_sum"] + NAN}

    return go(precision, broken, model, inputs, targets)


def poisoned_gradient(bad):
    def gradient(precision, objective, model, inputs, targets, go):
        stats = go(precision, objective, model, inputs, targets)
        model.head.weight.grad[1, 2] = bad
        return stats

    return gradient


def poisoned_tensor(name, bad):
    def tensor(precision, objective, model, inputs, targets, go):
        value = model.state_dict()[name]
        value[(0,) * value.dim()] = bad
        return go(precision, objective, model, inputs, targets)

    return tensor


def poisoned_inputs(bad):
    def pixels(precision, objective, model, inputs, targets, go):
        inputs = inputs.clone()
        inputs[-1, 0, 3, 3] = bad
        return go(precision, objective, model, inputs, targets)

    return pixels


POISONS = {
    "a loss of NaN": poisoned_loss(NAN),
    "a loss of infinity": poisoned_loss(INF),
    "a loss of NaN with finite gradients": poisoned_statistic,
    "a gradient of NaN": poisoned_gradient(NAN),
    "a gradient of infinity": poisoned_gradient(INF),
    "a gradient of minus infinity": poisoned_gradient(-INF),
    "a weight of NaN": poisoned_tensor("conv.weight", NAN),
    "a weight of infinity": poisoned_tensor("head.bias", INF),
    "a batch norm weight of NaN": poisoned_tensor("norm.weight", NAN),
    "a pixel of NaN": poisoned_inputs(NAN),
    "a pixel of infinity": poisoned_inputs(INF),
}
UNSEEN = {  # by training: only evaluation and the checkpoint read them
    "a batch norm variance of NaN": poisoned_tensor("norm.running_var", NAN),
    "a batch norm variance of infinity": poisoned_tensor("norm.running_var", INF),
    "a batch norm mean of NaN": poisoned_tensor("norm.running_mean", NAN),
}


def inject(monkeypatch, poison, place):
    """Put the poison in at a step (from 0); returns the models that were trained and their weights before it."""
    real, seen = Precision.backward, []

    def backward(self, objective, model, inputs, targets):
        seen.append({name: value.clone() for name, value in model.named_parameters()})
        if len(seen) - 1 != place:
            return real(self, objective, model, inputs, targets)
        seen.append(model)
        return poison(self, objective, model, inputs, targets, real)

    monkeypatch.setattr(Precision, "backward", backward)
    return seen


@pytest.mark.parametrize("place", [0, 8, 16], ids=["first step", "mid-epoch", "last step"])
@pytest.mark.parametrize("name", POISONS)
def test_what_is_not_finite_is_caught_before_the_weights_change(tmp_path, monkeypatch, fault, name, place):
    seen = inject(monkeypatch, POISONS[name], place)
    with pytest.raises(DivergedError, match=rf"in step {place + 1} at learning rate 0\.\d+; no weight was changed") as error:
        train(tmp_path, epochs=1, every="3it")
    assert error.value.exit_code == 5 and error.value.step == place
    before, model = seen[-2:]
    if not name.startswith(("a weight", "a batch norm weight")):
        assert all(torch.equal(before[key], value) for key, value in model.named_parameters())
    kept = tmp_path / "last.safetensors"
    assert kept.exists() == (place >= 3)
    if kept.exists():
        assert checkpoint.read(kept).meta["step"] <= place and finite(kept)
    fault("E1", f"{name}, step {place + 1} of 17")


@pytest.mark.parametrize(
    ("place", "every"),
    [(0, "3it"), (8, "3it"), (8, 1), (16, "3it")],
    ids=["first step", "mid-epoch, found at a save", "mid-epoch, found at the evaluation", "last step"],
)
@pytest.mark.parametrize("name", UNSEEN)
def test_statistics_that_only_evaluation_reads_are_never_kept(tmp_path, monkeypatch, fault, name, place, every):
    inject(monkeypatch, UNSEEN[name], place)
    with pytest.raises(DivergedError, match=r"model\.norm\.running_\w+ is not finite by step") as error:
        train(tmp_path, epochs=1, every=every)
    assert error.value.exit_code == 5
    assert all(finite(path) for path in tmp_path.glob("*.safetensors"))
    fault("E1", f"{name}, step {place + 1} of 17, saved every {every}")


def test_weights_that_a_finite_gradient_made_infinite_are_not_kept(tmp_path, monkeypatch, fault):
    """The step itself overflows: every gradient was finite, so only the save can see it."""
    real = Precision.step

    def step(self, place):
        if place == 5:
            self.optimizer.param_groups[0]["lr"] = 3e38
            for parameter in self.parameters:
                parameter.grad.fill_(5.0)
        return real(self, place)

    monkeypatch.setattr(Precision, "step", step)
    with pytest.raises(DivergedError, match="not finite by step 6"):
        train(tmp_path, every="1it")
    assert checkpoint.read(tmp_path / "last.safetensors").meta["step"] == 5 and finite(tmp_path / "last.safetensors")
    fault("E1", "a step that overflows the weights")


@pytest.mark.parametrize("average", ["ema", "swa", "lookahead"])
def test_an_average_that_is_not_finite_is_not_kept(tmp_path, monkeypatch, fault, average):
    from cnntrain.engine import average as averages

    real = averages._Pairs.lerp

    def lerp(self, weight):
        real(self, weight)
        self.mine[0][(0,) * self.mine[0].dim()] = NAN

    monkeypatch.setattr(averages._Pairs, "lerp", lerp)
    with pytest.raises(DivergedError, match="not finite|is nan"):
        train(tmp_path, average=average, every="2it", epochs=1)
    assert all(finite(path) for path in tmp_path.glob("*.safetensors"))
    fault("E1", f"NaN in the average's weights: {average}")


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("every", ["1it", 1], ids=["saved every step", "saved at the epoch's end"])
def test_a_step_that_a_device_leaves_out_is_not_left_unsaid(tmp_path, monkeypatch, fault, every, bad):
    """On an accelerator the fused kernel skips the step without the host: the CPU's takes ``found_inf`` too."""
    real = Precision.__init__

    def skips(self, *args, **options):
        real(self, *args, **options)
        self._skips_on_device = True

    monkeypatch.setattr(Precision, "__init__", skips)
    seen = inject(monkeypatch, poisoned_gradient(bad), 6)
    place = 7 if every == "1it" else 10  # the next save, or the next report
    with pytest.raises(DivergedError, match=rf"the loss is nan by step {place}"):
        train(tmp_path, optimizer="fused_sgd", every=every)
    before, model = seen[6], seen[7]
    after = seen[8] if place == 10 else dict(model.named_parameters())
    assert all(torch.equal(before[key], after[key]) for key in before), "the step was made"
    fault("E1", f"a gradient of {bad} on a device that skips the step")


def test_an_evaluation_of_nan_is_never_the_best(tmp_path, monkeypatch, fault):
    import workload

    real, calls = workload.evaluate, []

    def evaluate(*args, **options):
        evaluation = real(*args, **options)
        calls.append(evaluation.metrics)
        if len(calls) == 2:
            evaluation.metrics.update(loss=NAN, accuracy=NAN)
        return evaluation

    monkeypatch.setattr(workload, "evaluate", evaluate)
    state = train(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    judged = [row["val/accuracy"] for row in rows if "val/accuracy" in row]
    assert judged[1] is None and state.judge.best == max(judged[0], judged[2])
    fault("E1", "an evaluation that is NaN while the weights are finite")


def test_the_error_names_the_pictures_and_what_is_left(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "pets", {"cat": 13, "dog": 13}, size=12)
    real = Precision.step

    def step(self, place):
        if place == 4:
            self.parameters[0].grad[0, 0, 0, 0] = NAN
        return real(self, place)

    monkeypatch.setattr(Precision, "step", step)
    words = "model=lenet5 data=folder data.root=pets data.image_size=12 data.cache=cache batch_size=9 epochs=3 machine.threads=1".split()
    with pytest.raises(DivergedError) as error:
        quick.start("run", *words, "report.progress=off", "report.tensorboard=false", "schedule=constant")
    text = str(error.value)
    named = text.partition("its samples are ")[2].partition(", … (9 in all")[0].split(", ")
    assert len(named) == 8 and all((tmp_path / "pets" / name).exists() for name in named)
    assert "run/last.safetensors is that of step 3" in text and text.endswith("Fix: cnntrain resume run=run optimizer.lr=0.005")
    listed = (tmp_path / "run" / "train.log").read_text().partition("the samples of step 5: ")[2].splitlines()[0].split(", ")
    assert listed[:8] == named and len(listed) == 9
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    quick.go_on("run", "optimizer.lr=0.005")  # the fix works
    assert json.loads(Path("run/status.json").read_text())["state"] == "done"
    fault("E1", "a step whose pictures have names")


# E2: values that cannot be, and those that cannot train.

BAD = {
    "lr": [NAN, INF, -INF, 0, -1, "fast", "", None, [0.1], True],
    "momentum": [NAN, INF, 1, 1.5, -0.1, "0.9x", [0.9]],
    "weight_decay": [NAN, INF, -1e-9, "none", None],
    "betas": [[0.9, 1.0], [-0.1, 0.9], [NAN, 0.9], [0.9], 0.9],
    "eps": [0, -1e-8, NAN, INF],
    "alpha": [1, -0.1, NAN],
    "rest_momentum": [1, NAN],
    "rest_lr": [0, -1, NAN, INF],
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_values_that_cannot_train_are_refused_before_anything_is_read(fault, name):
    node = yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text())
    node.pop("defaults", None)
    check(node, place="optimizer")
    for key in BAD.keys() & node.keys():
        for value in BAD[key]:
            with pytest.raises(ConfigError, match=rf"optimizer\.{key}") as error:
                check({**node, key: value}, place="optimizer")
            assert error.value.exit_code == 2
    assert {"lr", "weight_decay"} & node.keys()
    for key in BAD.keys() & node.keys():
        fault("E2", f"{key} out of its range: {name}")


@pytest.mark.parametrize(
    "words", [["clip=0"], ["clip=nan"], ["clip=-1"], ["optimizer.lr=nan"], ["optimizer.lr=-1"], ["optimizer.momentum=1.5"]]
)
def test_such_a_word_on_the_command_line_is_exit_2_and_leaves_nothing(tmp_path, monkeypatch, fault, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words[0].partition("=")[0]) as error:
        cli.call("train", *SMALL, *words)
    assert error.value.exit_code == 2 and list(tmp_path.iterdir()) == []
    fault("E2", f"on the command line: {words[0]}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_1e20_ends_as_diverged(tmp_path, monkeypatch, fault, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DivergedError, match="diverged.*Fix: start again with optimizer.lr=auto") as error:
        quick.start("run", *SMALL, f"optimizer={name}", "optimizer.lr=1.0e20", "checkpoint.every=1it")
    assert error.value.exit_code == 5 and all(finite(path) for path in Path("run").glob("*.safetensors"))
    fault("E2", f"lr=1e20: {name}")


@pytest.mark.parametrize(
    "words", [["optimizer.weight_decay=1.0e10"], ["optimizer=adamw", "optimizer.weight_decay=1.0e30"], ["optimizer.lr=1.0e6"]]
)
def test_other_values_that_explode_end_as_diverged(tmp_path, monkeypatch, fault, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DivergedError) as error:
        quick.start("run", *SMALL, *words, "schedule=constant", "checkpoint.every=1it")
    assert error.value.exit_code == 5 and all(finite(path) for path in Path("run").glob("*.safetensors"))
    fault("E2", f"explodes: {' '.join(words)}")


# E4: too little to take a step of.

NORMS = ("model=speedrun", "model.widths=[4,4,4]")  # batch norm on a map of one pixel


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["batch_size=100"], r"batch_size=100 is larger than the training set of 60 images.*Fix: batch_size=60"),
        (["batch_size=0"], "batch_size: 0 is not a whole number, 1 or more"),
        (["microbatch=0"], "microbatch: 0 is not"),
        (["epochs=0"], "epochs: 0 is not a duration above 0"),
        (["epochs=0it"], "epochs: '?0it'? is not a duration above 0"),
        (["epochs=0.01"], "epochs=0.01 is less than one step"),
        (["epochs=50%"], "is a share of itself"),
        (
            [*NORMS, "batch_size=1"],
            r"batch_size=1.*single sample.*BiasNorm.*Fix: batch_size=2",
        ),
        ([*NORMS, "microbatch=1"], r"microbatch=1 .*single sample.*Fix: microbatch=2"),
        ([*NORMS, "microbatch=3"], r"microbatch=3 .*single sample.*Fix: microbatch=4"),
        (
            [*NORMS, "batch_size=9", "microbatch=4"],
            r"microbatch=4 .*single.*Fix: microbatch=6",
        ),
    ],
    ids=str,
)
def test_too_little_to_step_on_is_told_before_training(tmp_path, monkeypatch, fault, words, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text) as error:
        quick.start("run", *SMALL, *words)
    assert error.value.exit_code == 2 and not Path("run/last.safetensors").exists()
    fault("E4", " ".join(words))


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (
            [*NORMS, "data.samples=10", "data.val=0", "batch_size=9", "epochs=1"],
            1,
        ),  # 9 + 1: one is left out
        ([*NORMS, "batch_size=9", "microbatch=6", "epochs=1it"], 1),  # the fix that was named
        (["batch_size=1", "epochs=3it"], 3),  # no batch norm: one sample is enough
        (["batch_size=60", "epochs=1"], 1),
        (["epochs=1it"], 1),
        (["data.samples=8", "data.test_samples=1", "batch_size=2", "epochs=1"], 2),  # 4 train, 4 val, a test set of one
    ],
    ids=str,
)
def test_what_is_just_enough_trains_for_its_steps(tmp_path, monkeypatch, fault, words, steps):
    monkeypatch.chdir(tmp_path)
    result = quick.start("run", *SMALL, *words)
    assert result["step"] == checkpoint.read("run/last.safetensors").meta["step"] == steps and finite("run/last.safetensors")
    fault("E4", " ".join(words))


# E5: nothing but config and data decides the result.


def test_the_same_seed_gives_the_same_hash_wherever_and_however_often(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    hashes = set()
    words = [*SMALL, "augment=[crop,flip,noise,mixup]", "average=ema", "epochs=1"]
    for name in ("a", "b", "another name", "deep/er"):
        Path(name).parent.mkdir(exist_ok=True)
        torch.manual_seed(len(hashes) + 77)  # nor does what was drawn before
        quick.start(name, *words)
        hashes.add(fingerprint(tmp_path / name))
    Path("elsewhere").mkdir()
    command = [sys.executable, "-m", "cnntrain", *words, "hydra.run.dir=process"]
    done = subprocess.run(
        command, cwd="elsewhere", env={**os.environ, "PYTHONHASHSEED": "4242"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    hashes.add(fingerprint(tmp_path / "elsewhere" / "process"))
    assert len(hashes) == 1
    for what in ("another name", "another folder", "what was drawn before", "another hash seed, process and folder"):
        fault("E5", what)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores: that is the point
@pytest.mark.parametrize(
    "choices",
    [
        ("resident", "streamed data.workers=0", "streamed data.workers=2"),
        pytest.param(("resident", "streamed data.workers=1", "streamed data.workers=4"), marks=pytest.mark.slow),
    ],
    ids=["none and two", "one and four"],
)
def test_workers_residency_and_cache_do_not_matter(tmp_path, monkeypatch, fault, choices):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "pets", {"cat": 11, "dog": 12}, size=12)
    words = "model=lenet5 data=folder data.root=pets data.image_size=12 batch_size=4 epochs=2 machine.threads=1 report.progress=off".split()
    hashes = {}
    for choice in choices:
        name = choice.replace(" ", "_").replace("=", "")
        how = [f"data.residency={choice.split()[0]}", *choice.split()[1:], f"data.cache=cache_{name}", "report.tensorboard=false"]
        quick.start(name, *words, *how)
        hashes[choice] = fingerprint(tmp_path / name)
        fault("E5", choice)
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.parametrize("at_once", [1, 10**4, 2**20])
def test_how_much_is_gathered_ahead_does_not_matter(tmp_path, monkeypatch, fault, at_once):
    from cnntrain.engine import inputs

    train(tmp_path / "a", epochs=1)
    monkeypatch.setitem(inputs.AHEAD_BYTES, "cpu", at_once)
    train(tmp_path / "b", epochs=1)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    fault("E5", f"{at_once} bytes gathered ahead")


def test_other_thread_counts_are_close_and_told(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    seen = {}
    for threads in (1, 2):
        quick.start(f"t{threads}", *SMALL, "epochs=1", f"machine.threads={threads}", "optimizer.lr=0.01")
        seen[threads] = checkpoint.read(f"t{threads}/last.safetensors")
        assert seen[threads].meta["threads"] == threads and f"({threads} threads)" in Path(f"t{threads}/train.log").read_text()
    for name, value in seen[1].tensors.items():
        if name.startswith("model."):
            torch.testing.assert_close(value, seen[2].tensors[name], rtol=1e-3, atol=1e-4)
    fault("E5", "2 threads in place of 1")


def test_the_net_of_these_tests_has_what_can_go_wrong():
    assert {"norm.running_var", "head.bias", "conv.weight"} <= set(Net().state_dict())
