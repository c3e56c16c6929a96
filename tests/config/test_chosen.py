"""Options, places within nodes and keys in force, as the files tell without composing."""

import pytest

from cnntrain.config import find
from cnntrain.config.chosen import Slot, choices, keys, slots
from cnntrain.config.outline import read


@pytest.fixture
def shipped():
    return find.files([find.shipped()])


def of_train(found, *words):
    return found, read(found[""]["train"]), list(words)


def test_choices(shipped):
    chosen = choices(*of_train(shipped, "data=cifar10", "optimizer=adam", "epochs=3"))
    assert (chosen["optimizer"], chosen["augment"], chosen["experiment"]) == (["adam"], ["crop", "flip"], [])


def test_a_place_within_a_node(shipped):
    assert slots(*of_train(shipped)) == {}
    assert slots(*of_train(shipped, "model=filtered")) == {"model@model.net": Slot("model", "model.net", "lenet5", "lenet5")}
    deep = slots(*of_train(shipped, "model=filtered", "model@model.net=filtered", "model@model.net.net=resnet20"))
    assert {key: slot.option for key, slot in deep.items()} == {"model@model.net": "filtered", "model@model.net.net": "resnet20"}
    assert all(slot.key == key for key, slot in deep.items())


def test_places_that_users_files_make(tmp_path, shipped):
    text = "# @package _global_\ndefaults:\n  - override /model: filtered\n  - override /model@model.net: resnet20\n"
    for name, content in {
        "experiment/own.yaml": text,
        "model/pair.yaml": "defaults:\n  - /model@left: lenet5\n  - /loss@_global_.extra: mse\n_target_: x.Y\n",
        "model/circle.yaml": "defaults:\n  - /model@net: circle\n_target_: x.Y\n",
    }.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = find.files([find.shipped(), tmp_path / "conf"])
    assert slots(*of_train(found, "experiment=own"))["model@model.net"].option == "resnet20"
    assert set(slots(*of_train(found, "model=pair"))) == {"model@model.left", "loss@extra"}
    assert list(slots(*of_train(found, "model=circle"))) == ["model@model.net", "model@model.net.net"], "Hydra tells of it"


def test_keys_of_nodes_within_nodes(shipped):
    names = {key.name: key.default for key in keys(shipped, "train", ["model=filtered", "model@model.net=resnet32"])}
    assert names["model.net.depth"] == "32" and names["model.keep_image"] == "true" and "model.net.pool" not in names
    assert names["augment.shift.pixels"] and names["optimizer.lr"] == "0.05"
