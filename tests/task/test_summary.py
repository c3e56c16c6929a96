"""``summary``: the figures it returns, what fits 80 columns, what a checkpoint adds, and that it reads no picture."""

from functools import partial

import pytest
import torch
from stored import MACHINE, make

from cnntrain.config.recipe import check
from cnntrain.data import dataset as data_module
from cnntrain.errors import ConfigError
from cnntrain.task.assemble import build_model, outline
from cnntrain.task.summary import summary

LENET = {"_target_": "cnntrain.model.lenet.LeNet5", "activation": "relu", "pool": "max"}
CIFAR = {"_target_": "cnntrain.data.cifar.cifar10", "root": "/nowhere/at/all", "val": 0.1, "mean": None, "std": None}
SGD = {"_target_": "cnntrain.optimizer.sgd.sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}


def parts(**changes):
    nodes = {
        "model": LENET,
        "data": CIFAR,
        "loss": {"_target_": "cnntrain.loss.cross_entropy.CrossEntropy"},
        "optimizer": SGD,
        "schedule": {"_target_": "cnntrain.schedule.cyclical.Triangular", "base": 0.1},
        "objective": {"_target_": "cnntrain.objective.classification.Classification"},
        "weights": {"_target_": "cnntrain.weights.scratch.scratch"},
        "average": {"_target_": "cnntrain.engine.average.NoAverage"},
    } | changes
    return {name: check(node, place=name) for name, node in nodes.items()} | {"machine": MACHINE}


def test_figures_of_lenet_on_a_data_set_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(data_module.Data, "train", property(lambda self: pytest.fail("a summary reads no picture")))
    state = torch.get_rng_state()
    result = summary(
        **parts(), augment={"flip": check({"_target_": "cnntrain.augment.flip.Flip"}, place="augment.flip")}, batch_size=100, epochs=2
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert result["parameters"] == result["trainable"] == 62_006
    assert result["multiply_adds"] == 28 * 28 * 6 * 75 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    rows = {row["name"]: row for row in result["layers"]}
    assert rows["conv2"]["output"] == [16, 10, 10] and rows["conv2"]["window"]["kernel"] == (5, 5)
    decayed, plain = result["groups"]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (5e-4, 0) and decayed["parameters"] + plain["parameters"] == 62_006
    assert result["schedule"]["steps"] == 2 * 450
    assert result["schedule"]["first"] == {"lr": pytest.approx(0.01)} and result["schedule"]["middle"] == {"lr": pytest.approx(0.1)}
    assert result["memory"] == result["saved_bytes"] + 3 * 4 * 62_006
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    for words in ("cifar10: 45,000 to train on", "Flip(", "conv1", "28×28", "learning rate", "900 steps of 100"):
        assert words in text, words


def test_what_auto_chose_and_both_counts_of_a_separable_net(capsys):
    result = summary(**parts(model={"_target_": "cnntrain.model.resnet.ResNet", "depth": 18}))
    assert "stem" in result["choices"] and result["choices"]["stem"] in capsys.readouterr().out
    assert result["dense_multiply_adds"] == result["multiply_adds"]


def test_all_layers_on_request(capsys):
    summary(**parts(), layers="all")
    text = capsys.readouterr().out
    assert text.count("ReLU") == 4 and "others" not in text


def test_momentum_is_drawn_where_it_is_cycled_and_an_automatic_rate_is_a_share(capsys):
    result = summary(**parts(optimizer=SGD | {"lr": "auto"}, schedule={"_target_": "cnntrain.schedule.one_cycle.OneCycle"}))
    text = capsys.readouterr().out
    assert "momentum\n" in text and "as a share of" in text
    assert max(value["lr"] for value in (result["schedule"]["first"], result["schedule"]["middle"])) <= 1


def test_notes_of_the_schedule_are_told(capsys):
    cycle = {"_target_": "cnntrain.schedule.cyclical.Triangular", "cycle": 3}
    result = summary(**parts(schedule=cycle), epochs=4)
    assert result["schedule"]["notes"] and "into a cycle" in capsys.readouterr().out


def test_an_image_too_small_is_an_error_with_the_layer():
    tiny = {
        "_target_": "cnntrain.data.synthetic.synthetic",
        "classes": 3,
        "image_size": 4,
        "channels": 1,
        "samples": 30,
        "test_samples": 3,
        "noise": 0.5,
    }
    with pytest.raises(ConfigError, match="layer "):
        summary(**parts(model={"_target_": "cnntrain.model.simple_convnet.SimpleConvNet"}, data=tiny))


@pytest.mark.parametrize(
    ("knobs", "place", "fix"),
    [
        ({"code_channels": 10**11}, "model.code_channels=100000000000", "model.code_channels=16"),
        ({"code_channels": 10**18}, "model.code_channels=1000000000000000000", "model.code_channels=16"),
        ({"widths": [8, 10**15]}, "model.widths=1000000000000000", "a smaller model.widths"),
    ],
)
def test_a_model_beyond_all_memory_is_an_error_that_names_the_knob(knobs, place, fix):
    model = check({"_target_": "cnntrain.model.conv_autoencoder.ConvAutoencoder", "widths": [8], **knobs}, place="model")
    dataset = check(CIFAR, place="data")(seed=0)
    loss = check({"_target_": "cnntrain.loss.mse.SquaredError"}, place="loss")
    for build in (build_model, partial(outline, batch=2)):
        with pytest.raises(ConfigError, match="more than memory holds") as caught:
            build(model, dataset, outputs="images", loss=loss)
        assert (caught.value.where, caught.value.fix) == (place, fix)


def test_a_checkpoint_is_shown_with_its_own_config_and_all_its_tensors(tmp_path, capsys):
    path = tmp_path / "best.safetensors"
    network, _ = make(path, average=True)
    result = summary(**parts(), checkpoint=str(path))
    assert {row["name"] for row in result["tensors"]} == set(network.state_dict())
    for row in result["tensors"]:
        values = network.state_dict()[row["name"]].double()
        assert row["shape"] == list(values.shape)
        assert row["mean"] == pytest.approx(float(values.mean())) and row["std"] == pytest.approx(float(values.std(correction=0)))
    assert result["parameters"] == sum(p.numel() for p in network.parameters())
    text = capsys.readouterr().out
    assert str(path) in text.replace("\n", "").replace(" ", "") and "7 classes" in text and "cifar10" not in text
    assert all(name in text for name in network.state_dict())
