"""``lr_find`` and ``find_lr``: files, overrides, and a network and data that are as they were."""

import json

import pytest
import torch
from stored import MACHINE, NETWORK, SYNTHETIC, pictures_of

from cnntrain.config.recipe import check
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.inputs import Normalise
from cnntrain.engine.range_test import RangeTest
from cnntrain.engine.run import Run
from cnntrain.errors import ConfigError
from cnntrain.task.lr_find import find_lr, length_of_test, lr_find, overrides, show

SGD = {"_target_": "cnntrain.optimizer.sgd.sgd", "lr": "auto", "momentum": 0.9}
TRIANGLE = check({"_target_": "cnntrain.schedule.cyclical.Triangular"}, place="schedule")


def parts(**changes):
    nodes = {
        "model": NETWORK,
        "data": SYNTHETIC | {"samples": 300},
        "loss": {"_target_": "cnntrain.loss.cross_entropy.CrossEntropy"},
        "optimizer": SGD,
        "schedule": TRIANGLE.plain(),
        "objective": {"_target_": "cnntrain.objective.classification.Classification"},
        "weights": {"_target_": "cnntrain.weights.scratch.scratch"},
    } | changes
    return {name: check(node, place=name) for name, node in nodes.items()} | {"machine": MACHINE}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, config={"verb": "lr_find"})


def test_it_finds_a_rate_draws_it_and_says_what_to_paste(run, capsys):
    shift = check({"_target_": "cnntrain.augment.shift.Shift", "pixels": 1}, place="augment.shift")
    result = lr_find(**parts(), augment={"shift": shift}, steps="80it", start=1e-4, end=10.0, batch_size=32, run=run)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines() if str(run.folder) not in line) <= 80
    assert result["steps"] <= 80 and 1e-4 < result["suggestion"] < 10
    assert result["overrides"]["recommended"] == f"optimizer.lr={result['suggestion']:g}" and result["overrides"]["recommended"] in text
    assert all(f"{lr:g}" in text for lr in result["suggestions"].values())
    assert (run.folder / "lr_find.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run.folder / "status.json").read_text())["value"] == result["suggestion"]


def test_tensorboard_has_the_curve_by_step_and_the_picture(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = lr_find(**parts(), steps="12it", batch_size=32, run=run)
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"lr_find/lr", "lr_find/loss", "lr_find/smoothed"}
    assert [event.step for event in events.Scalars("lr_find/loss")] == list(range(result["steps"]))
    assert events.Scalars("lr_find/lr")[0].value == pytest.approx(1e-6)
    assert events.Tags()["images"] == ["lr_find/curve"]


def test_network_data_and_generators_are_left_as_they_were():
    dataset = check(SYNTHETIC, place="data")(seed=0)
    network = check(NETWORK, place="model")(in_channels=3, num_classes=7, image_size=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pictures, labels = (part.clone() for part in pictures_of(dataset.train))
    machine = MACHINE()
    state = torch.get_rng_state()
    goal = check({"_target_": "cnntrain.objective.classification.Classification"}, place="objective")
    loss = check({"_target_": "cnntrain.loss.cross_entropy.CrossEntropy"}, place="loss")(class_counts=dataset.class_counts)
    seen = []
    found = find_lr(
        network=network,
        groups=[{"params": list(network.parameters()), "lr_scale": 1.0}],
        optimizer=check(SGD, place="optimizer"),
        split=dataset.train,
        augmentation=Augmentation([check({"_target_": "cnntrain.augment.flip.Flip"}, place="augment.flip")()]),
        normalise=Normalise(dataset.mean, dataset.std, device=machine.device, memory_format=machine.memory_format),
        objective=goal(loss=loss, num_classes=7),
        machine=machine,
        batch_size=16,
        seed=0,
        steps="15it",
        on_step=lambda step, lr, mean: seen.append(lr),
    )
    assert len(found.lrs) == 15 and seen == found.lrs  # four epochs of a set of 54 pictures
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(pictures_of(dataset.train), (pictures, labels), strict=True))


@pytest.mark.parametrize(
    "steps, num, expected", [("auto", 1294, 400), ("auto", 60_000, 469), ("auto", 1_281_167, 1000), ("90it", 1294, 90), (2, 1280, 20)]
)
def test_length(steps, num, expected):
    assert length_of_test(steps, num, 128) == expected


def found(**suggestions):
    lrs = [10 ** (-5 + i / 10) for i in range(50)]
    losses = [2.0 - i / 40 if i < 40 else 5.0 * i for i in range(50)]
    return RangeTest(lrs, losses, losses, "the loss exploded at 1", suggestions)


def test_overrides_of_a_cyclical_and_another_schedule(capsys):
    test = found(**{"steepest": 0.02, "valley": 0.01, "minimum/10": 0.01, "base_lr": 0.006, "max_lr": 0.12})
    assert overrides(test, TRIANGLE) == {"recommended": "optimizer.lr=0.12", "Smith's bounds": "optimizer.lr=0.12 schedule.base=0.05"}
    other = check({"_target_": "cnntrain.schedule.cosine.Cosine"}, place="schedule")
    assert overrides(test, other) == {"recommended": "optimizer.lr=0.12"}
    show(test, {}, [])
    text = capsys.readouterr().out
    assert "(recommended)" in text and "e max_lr 0.12" in text


def test_no_fall_no_override(capsys):
    assert overrides(found(), TRIANGLE) == {}
    show(found(), {}, [])
    assert "never fell" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="never fell"):
        _ = found().suggestion
