"""A whole tree is checked against signatures, all problems are told at once, and what passes is a call."""

import math
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnntrain.config.recipe import FACTS, Recipe, check, moved
from cnntrain.config.signature import read
from cnntrain.errors import ConfigError, DataError

PARTS = """
from typing import Literal
from cnntrain.config.recipe import Recipe
from cnntrain.units import *
from cnntrain.units import Count, Decay, Duration, Fraction, LearningRate, NonNegative, Positive, Size

class Net:
    def __init__(self, *, in_channels: int, num_classes: int, depth: Count = 18, stem: Literal["auto", "cifar", "imagenet"] = "auto",
                 widths: list[Count] = [16, 32], drop: Fraction = 0.0, kernel: tuple[int, int] = (3, 3), bias: bool = True,
                 name: str = "net", groups: int | None = None, backbone: Recipe | None = None, mixed: list[int] | Literal["all"] = "all"):
        self.given = {key: value for key, value in locals().items() if key != "self"}

def sgd(*, params: list[dict], lr: LearningRate, momentum: Decay = 0.9, weight_decay: NonNegative = 5e-4, nesterov: bool = True):
    return dict(params=params, lr=lr, momentum=momentum)

def digits(*, root: str, val: Fraction = 0.1, mean: list[float] | None = None, seed: int):
    return dict(root=root, seed=seed, mean=mean)

class Crop:
    def __init__(self, padding: Size = 4): self.padding = padding

class Triangular:
    def __init__(self, *, clock, lr: float, cycle: Duration = "100%", base: Fraction = 0.04): self.lr, self.cycle = lr, cycle

def train(*, model: Recipe, data: Recipe, augment: dict[str, Recipe] | None = None, optimizer: Recipe, schedule: Recipe,
          epochs: Duration = 20, batch_size: Count = 128, clip: Positive | None = None, run):
    return model, data, augment, run

def anything(*, x=None, **others): return x, others

from collections.abc import Callable
from cnntrain.errors import ConfigError, DataError

def behind(*, net: Callable, seed: int = 0, in_channels: int):
    if seed: raise ConfigError("no seed", where="model.seed", fix="model.seed=0 (not model.net)")
    return net(in_channels=in_channels)

def picky(*, width: int = 1, in_channels: int):
    if width == 2:
        where = "model.width, cnntrain.model.width"
        raise DataError("with model.width=2 no data", where=where, fix="model.width=1, model=resnet18")
    return width
"""


@pytest.fixture(scope="module", autouse=True)
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    (folder / "myparts.py").write_text(PARTS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("myparts", None)


def net(**values):
    return {"_target_": "myparts.Net", **values}


def tree(**changes):
    return {
        "_target_": "myparts.train",
        "model": net(depth=18, stem="auto", widths=[16, 32], drop=0.1),
        "data": {"_target_": "myparts.digits", "root": "pictures", "val": 0.1},
        "augment": {"crop": {"_target_": "myparts.Crop", "padding": 2}},
        "optimizer": {"_target_": "myparts.sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
        "schedule": {"_target_": "myparts.Triangular", "cycle": 4, "base": 0.1},
        "epochs": 20,
        "batch_size": 128,
        "clip": None,
        **changes,
    }


def problem(node, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        check(node, **options)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2 and caught.value.fix
    return caught.value.what


def test_a_good_tree_is_a_call():
    recipe = check(tree())
    assert isinstance(recipe, Recipe) and recipe.target == "myparts.train" and recipe.place == ""
    model, data, augment, run = recipe(run="here")
    assert run == "here" and isinstance(model, Recipe) and model.place == "model" and model.values["widths"] == [16, 32]
    network = model(in_channels=3, num_classes=10, image_size=32)  # image_size is not named by the signature: not given
    assert (network.given["num_classes"], network.given["drop"]) == (10, 0.1)
    assert augment["crop"]().padding == 2 and augment["crop"].place == "augment.crop"
    assert data(seed=3) == {"root": "pictures", "seed": 3, "mean": None}


def test_plain_is_the_node_again_and_can_be_checked_again():
    given = tree(model=net(kernel=[5, 5], drop=0, backbone=net(depth=2)), epochs="1e1")
    recipe = check(given)
    assert recipe.plain() == given
    assert check(recipe.plain()) == recipe
    given["model"]["kernel"][0] = 99
    assert recipe.plain()["model"]["kernel"] == [5, 5], "the recipe must not share the caller's lists"


def test_replace_is_checked():
    recipe = check(tree()["optimizer"], place="optimizer")
    assert recipe.replace(lr=0.5).values["lr"] == 0.5 and recipe.values["lr"] == 0.1
    with pytest.raises(ConfigError, match=r"optimizer.lrr: sgd has no such parameter \(did you mean 'lr'\?\)"):
        recipe.replace(lrr=0.5)
    with pytest.raises(ConfigError, match="optimizer.lr: -1 is not a number above 0, or auto"):
        recipe.replace(lr=-1)


def test_replace_is_laid_over_nodes_within():
    recipe = check(net(backbone=net(depth=2, widths=[3], backbone=net(depth=4))), place="model")
    assert recipe.replace(backbone={"depth": 5, "backbone": {"drop": 0.5}}).plain() == (
        net(backbone=net(depth=5, widths=[3], backbone=net(depth=4, drop=0.5)))
    )
    assert recipe.replace(backbone=net(depth=6)).plain() == net(backbone=net(depth=6)), "another node takes its place"
    assert recipe.values["backbone"].values["depth"] == 2
    with pytest.raises(ConfigError, match=r"model.backbone.dept: Net has no such parameter \(did you mean 'depth'\?\)"):
        recipe.replace(backbone={"dept": 5})


def picky(**values):
    return {"_target_": "myparts.picky", **values}


def behind(**values):
    return {"_target_": "myparts.behind", **values}


@pytest.mark.parametrize(
    ("node", "place"),
    [(picky(width=2), "model"), (behind(net=picky(width=2)), "model.net"), (behind(net=behind(net=picky(width=2))), "model.net.net")],
)
def test_what_a_part_says_of_its_keys_is_told_of_its_place(node, place):
    """A part takes itself to be its group's; where it is a node within another, its errors are reworded, once."""
    with pytest.raises(DataError) as caught:
        check(node, place="model")(in_channels=1)
    error = caught.value
    assert (error.what, error.where) == (f"with {place}.width=2 no data", f"{place}.width, cnntrain.model.width")
    assert error.fix == f"{place}.width=1, model=resnet18" and error.args == (error.what, error.where, error.fix)


def test_a_node_between_is_told_of_its_own_place():
    with pytest.raises(ConfigError) as caught:
        check(behind(net=behind(net=picky(), seed=1)), place="model")(in_channels=1)
    assert (caught.value.where, caught.value.fix) == ("model.net.seed", "model.net.seed=0 (not model.net.net)")


@pytest.mark.parametrize("value", [None, 3, "picky", [], {"width": 3}])
def test_what_is_called_is_a_node(value):
    assert "model.net: " in (told := problem(behind(net=value), place="model")) and told.endswith("is not a node with a _target_")


def test_only_keys_that_are_named_are_moved():
    assert moved("model.a=1 model.ab=2 model.b: model 'model.a'", "model", "model.net", ["a"]) == (
        "model.net.a=1 model.ab=2 model.b: model 'model.net.a'"
    )
    assert moved("model.a", "model", "knobs", []) == "model.a"


def test_misspelt_key():
    optimizer = tree()["optimizer"]
    assert problem(tree(optimizer=optimizer | {"lrr": 1})) == "optimizer.lrr: sgd has no such parameter (did you mean 'lr'?)"
    assert problem(tree(model=net(dpeth=3))) == "model.dpeth: Net has no such parameter (did you mean 'depth'?)"
    assert problem(tree(epocs=3)) == "epocs: train has no such parameter (did you mean 'epochs'?)"
    assert problem(tree(augment={"crop": {"_target_": "myparts.Crop", "paddin": 3}})) == (
        "augment.crop.paddin: Crop has no such parameter (did you mean 'padding'?)"
    )


def test_key_that_lives_elsewhere():
    assert problem(tree(lr=1)) == "lr: train has no such parameter (did you mean 'optimizer.lr'?)"
    assert problem(tree(model=net(batch_size=3))) == "model.batch_size: Net has no such parameter (did you mean 'batch_size'?)"


def test_key_like_nothing_lists_what_there_is():
    told = r"^schedule.zzz: Triangular has no such parameter. Fix: remove schedule.zzz; Triangular takes cycle, base$"
    with pytest.raises(ConfigError, match=told):
        check(tree(schedule={"_target_": "myparts.Triangular", "zzz": 1}))


@pytest.mark.parametrize(
    ("place", "key", "told"),
    [
        ("model", "num_classes", "from the data"),
        ("model", "image_size", "from the data"),  # a fact, though this net does not name it
        ("data", "seed", "from the key seed"),
        ("optimizer", "params", "from the model and weights"),
        ("schedule", "lr", "from optimizer.lr"),
    ],
)
def test_facts_may_not_stand_in_the_config(place, key, told):
    node = tree()[place] | {key: 10}
    assert problem(tree(**{place: node})) == f"{place}.{key}: is given by the run ({told}) and may not stand in the config"
    assert problem(node, place=place) == f"{place}.{key}: is given by the run ({told}) and may not stand in the config"


def test_the_tasks_own_fact():
    assert problem(tree(run="x")) == "run: is given by the run and may not stand in the config"
    with pytest.raises(ConfigError, match="model.depth: is given by the run"):
        check(net(depth=3), place="model")(in_channels=1, num_classes=2, depth=4)


def test_facts_table_names_what_the_brief_gives():
    assert FACTS["model"] == ("in_channels", "num_classes", "image_size") and FACTS["augment"] == ("clock",)
    assert set(FACTS) >= {"model", "data", "augment", "loss", "optimizer", "schedule", "objective", "weights"}


@pytest.mark.parametrize("root", [{}, {"root": "???"}])
def test_missing(root):
    node = {"_target_": "myparts.digits", **root}
    assert problem(tree(data=node)) == "data.root: missing; give data.root=…"
    assert problem(tree(data="???")) == "data: missing; give data=…"


def test_missing_required_without_default():
    lacking = tree()
    del lacking["optimizer"]["lr"], lacking["model"]
    assert problem(lacking) == "optimizer.lr: missing; give optimizer.lr=…; model: missing; give model=…"


def test_nested_part_may_be_given_facts_by_its_parent():
    recipe = check(net(backbone=net(depth=2)), place="model")
    assert recipe.values["backbone"].place == "model.backbone"
    assert recipe.values["backbone"](in_channels=1, num_classes=2).given["depth"] == 2
    assert check(net(backbone=net(num_classes=7, in_channels=3)), place="model").values["backbone"]().given["num_classes"] == 7


def test_all_problems_in_one_line_with_their_files():
    bad = tree(model=net(dpeth=3, stem="cifr"), epochs="ten", batch_size=0, data={"_target_": "myparts.digitz", "root": "x"})
    assert problem(bad, files={"model": "conf/model/mynet.yaml", "epochs": "conf/train.yaml"}) == (
        "model.dpeth: Net has no such parameter (did you mean 'depth'?) in conf/model/mynet.yaml; "
        "model.stem: 'cifr' is not one of 'auto', 'cifar', 'imagenet' (did you mean 'cifar'?) in conf/model/mynet.yaml; "
        "data._target_: 'myparts.digitz' cannot be found (did you mean 'myparts.digits'?); "
        'epochs: \'ten\' is not a duration above 0: epochs (4), steps ("2000it") or a share of the run ("10%") in conf/train.yaml; '
        "batch_size: 0 is not a whole number, 1 or more"
    )


GOOD = [
    ("model.drop", 1, 1.0),
    ("model.drop", "1e-3", 0.001),
    ("model.kernel", [5, 3], (5, 3)),
    ("model.groups", None, None),
    ("model.mixed", [1, 2], [1, 2]),
    ("model.mixed", "all", "all"),
    ("model.name", "1e-3", "1e-3"),
    ("model.name", "${oc.env:HOME}", "${oc.env:HOME}"),
    ("optimizer.lr", "3e-4", 0.0003),
    ("optimizer.lr", "auto", "auto"),
    ("optimizer.lr", 1, 1.0),
    ("epochs", 4, 4.0),
    ("epochs", "2000it", "2000it"),
    ("epochs", "1e1", 10.0),
    ("clip", 2, 2.0),
    ("augment", None, None),
    ("augment", {}, {}),
    ("data.mean", [0, 1], [0.0, 1.0]),
]
BAD = [
    ("model.depth", 1.0, "1.0 is not a whole number, 1 or more"),
    ("model.depth", True, "true is not a whole number, 1 or more"),
    ("model.depth", "18", "'18' is not a whole number, 1 or more"),
    ("model.depth", "1e3", "'1e3' is not a whole number, 1 or more"),
    ("model.depth", None, "null is not a whole number, 1 or more"),
    ("model.depth", [18], "[18] is not a whole number, 1 or more"),
    ("model.drop", 1.5, "1.5 is not a number from 0 to 1"),
    ("model.drop", True, "true is not a number from 0 to 1"),
    ("model.drop", math.nan, "nan is not a number from 0 to 1"),
    ("model.drop", "nan", "'nan' is not a number from 0 to 1"),
    ("model.drop", "١", "'١' is not a number from 0 to 1"),
    ("model.drop", "", "'' is not a number from 0 to 1"),
    ("model.bias", 1, "1 is not true or false"),
    ("model.bias", "true", "'true' is not true or false"),
    ("model.name", 3, "3 is not text"),
    ("model.groups", "two", "'two' is not a whole number or null"),
    ("model.stem", "Auto", "'Auto' is not one of 'auto', 'cifar', 'imagenet' (did you mean 'auto'?)"),
    ("model.stem", 7, "7 is not one of 'auto', 'cifar', 'imagenet'"),
    ("model.kernel", [3], "[3] is not a list of 2 values (a whole number, a whole number)"),
    ("model.kernel", 3, "3 is not a list of 2 values (a whole number, a whole number)"),
    ("model.backbone", "resnet", "'resnet' is not a node with a _target_ or null"),
    ("model.mixed", "al", "'al' is not a list (of each: a whole number) or 'all' (did you mean 'all'?)"),
    ("model.widths", "16", "'16' is not a list (of each: a whole number, 1 or more)"),
    ("optimizer.lr", math.nan, "nan is not a number above 0, or auto"),
    ("optimizer.lr", math.inf, "inf is not a number above 0, or auto"),
    ("optimizer.lr", "atuo", "'atuo' is not a number above 0, or auto (did you mean 'auto'?)"),
    ("optimizer.momentum", 1, "1 is not a number from 0 to below 1"),
    ("optimizer.lr", 10**400, "a huge number is not a number above 0, or auto"),
    ("epochs", -1, '-1 is not a duration above 0: epochs (4), steps ("2000it") or a share of the run ("10%")'),
    ("epochs", True, 'true is not a duration above 0: epochs (4), steps ("2000it") or a share of the run ("10%")'),
    ("clip", 0, "0 is not a number above 0 or null"),
    ("model", {"depth": 3}, "{depth: 3} is not a node with a _target_"),
    ("model", "resnet18", "'resnet18' is not a node with a _target_"),
    ("augment", ["crop"], "['crop'] is not keys with values or null"),
    ("schedule.clock", 1, "is given by the run (from epochs, batch_size and the data) and may not stand in the config"),
]


def with_value(place: str, value):
    whole = tree()
    group, _, key = place.rpartition(".")
    (whole[group] if group else whole)[key] = value
    return whole


@pytest.mark.parametrize(("place", "value", "fitted"), GOOD)
def test_values_that_fit(place, value, fitted):
    recipe = check(with_value(place, value))
    group, _, key = place.rpartition(".")
    found = (recipe.values[group] if group else recipe).values[key]
    assert found == fitted and type(found) is type(fitted)


@pytest.mark.parametrize(("place", "value", "told"), BAD)
def test_values_that_do_not_fit(place, value, told):
    assert problem(with_value(place, value)) == f"{place}: {told}"


def test_the_place_within_a_value():
    assert problem(with_value("model.widths", [16, "x"])) == "model.widths[1]: 'x' is not a whole number, 1 or more"
    assert problem(with_value("data.mean", [0.1, math.nan])) == "data.mean[1]: nan is not a number"
    assert problem(with_value("augment", {"crop": 3})) == "augment.crop: 3 is not a node with a _target_"


def test_the_fix_is_one_action():
    for node, fix in [
        (with_value("model.depth", 0), "set model.depth, e.g. model.depth=18"),
        (with_value("optimizer.lr", 0), "set optimizer.lr to a number above 0, or auto"),
        (with_value("optimizer.lrr", 0), "write optimizer.lr instead of optimizer.lrr"),
        (tree(lr=1), "write optimizer.lr instead of lr"),
        (with_value("schedule.lr", 1), "remove schedule.lr and set optimizer.lr"),
        (tree(lr=1, epocs=3), "write optimizer.lr instead of lr, and correct the other 1 likewise"),
    ]:
        with pytest.raises(ConfigError) as caught:
            check(node)
        assert caught.value.fix == fix


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_", "_anything_"])
def test_special_keys_of_hydra_are_refused(key):
    told = "Hydra's special keys have no meaning here: a node is a _target_ and its parameters"
    assert problem(tree(model=net(**{key: True}))) == f"model.{key}: {told}"
    assert problem(tree(augment={key: True})) == f"augment.{key}: {told}"
    assert problem({"_target_": "myparts.anything", "x": [{key: True}]}) == f"x[0].{key}: {told}"


@pytest.mark.parametrize("target", [None, 3, "", "resnet18", ["a.b"], {"a": 1}])
def test_targets_that_are_no_names(target):
    told = problem(tree(model={"_target_": target}))
    assert told.startswith("model._target_: ") and "is not a dotted name" in told


@pytest.mark.parametrize("node", [{}, {"model": net()}, [], "x", None])
def test_a_tree_without_target(node):
    assert "is not a node with a _target_" in problem(node)


def test_problems_below_an_unknown_target_are_told_too():
    told = problem({"_target_": "myparts.trian", "model": net(dpeth=1)})
    assert told == (
        "_target_: 'myparts.trian' cannot be found (did you mean 'myparts.train'?); "
        "model.dpeth: Net has no such parameter (did you mean 'depth'?)"
    )


def test_our_own_targets_are_suggested():
    assert problem({"_target_": "cnntrain.config.recipe.Recip"}, place="model") == (
        "model._target_: 'cnntrain.config.recipe.Recip' cannot be found (did you mean 'cnntrain.config.recipe.Recipe'?)"
    )


def test_lists_and_dicts_of_nodes_and_open_signatures():
    recipe = check({"_target_": "myparts.anything", "x": [net(depth=1), {"deep": net(depth=2)}], "free": 1}, place="model")
    x, others = recipe()
    assert [x[0].values["depth"], x[1]["deep"].values["depth"], others] == [1, 2, {"free": 1}]
    assert (x[0].place, x[1]["deep"].place) == ("model.x[0]", "model.x[1].deep")
    told = problem({"_target_": "myparts.anything", "x": [net(), net(depth=0)]}, place="model", files={"model": "m.yaml"})
    assert told == "model.x[1].depth: 0 is not a whole number, 1 or more in m.yaml"


def test_names_that_are_no_names():
    assert problem(tree(model={"_target_": "myparts.Net", 3: 4})) == "model.3: the key 3 is not a name"


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda some: st.lists(some, max_size=3)))
def test_any_value_either_fits_or_is_told_in_one_line(value):
    for place in ("model.depth", "model.drop", "model.kernel", "model.mixed", "optimizer.lr", "epochs", "augment", "model.backbone"):
        try:
            check(with_value(place, value))
        except ConfigError as error:
            assert "\n" not in str(error) and place in error.what


def test_a_users_module_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(
        "import torch_is_not_needed\nfrom cnntrain.units import Count\n\n\nclass MyNet:\n"
        "    def __init__(self, num_classes: int, width: Count = 8): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert check({"_target_": "mynets.MyNet", "width": 4}, place="model").values == {"width": 4}
    assert problem({"_target_": "mynets.MyNet", "widht": 4}, place="model", files={"model": "conf/model/mynet.yaml"}) == (
        "model.widht: MyNet has no such parameter (did you mean 'width'?) in conf/model/mynet.yaml"
    )
    assert "did you mean 'mynets.MyNet'?" in problem({"_target_": "mynest.MyNet"}, place="model")
    with pytest.raises(ConfigError, match="mynets cannot be imported: ModuleNotFoundError"):
        check({"_target_": "mynets.MyNet"}, place="model")(num_classes=3)


# --- trust: configs out of checkpoints

TRICKS = [
    "os.system",
    "subprocess.run",
    "builtins.eval",
    "torch.load",
    "torch.hub.load",
    "torch.nn.modules.linear.torch.hub.load",
    "torch.nn.functional.relu",
    "torch.nn.init.normal_",
    "torch.nn.modules.module.register_module_forward_hook",
    "torch.nn.Parameter",
    "torch.utils.cpp_extension.load",
    "torchvision.models.resnet.load_state_dict_from_url",
    "torchvision.models._api.register_model",
    "torchvision.datasets.MNIST",
    "cnntrain.config.recipe.importlib.import_module",
    "cnntrain.config.source.importlib.import_module",
    "cnntrain.config.source.load",
    "cnntrain.config.source.os.system",
    "cnntrain.cli.os.system",
    "cnntrain.cli.main",
    "cnntrain.errors.re.compile",
    "cnntrain.engine.checkpoint.write",
    "cnntrain.model.__init__.os.system",
    "cnntrain.model.resnet.nn.Linear",
    "cnntrain.layer.os.system",
    "cnntrain.model..os.system",
    "cnntrain.model.resnet.ResNet.__init__.__globals__",
    "cnntrаin.model.resnet.ResNet",  # the first a is Cyrillic
    "mynets.MyNet",
    "myparts.Net",
    "pathlib.Path.unlink",
    "hydra.utils.instantiate",
    "",
    "..",
]


@pytest.mark.parametrize("target", TRICKS)
def test_a_checkpoint_cannot_name_it(target):
    for place in ("model", "model.backbone", "machine", "augment.crop", ""):
        assert "_target_: " in problem({"_target_": target}, place=place, trust=())


def test_refused_before_anything_is_found_or_imported(monkeypatch):
    def find_spec(name, path=None, target=None):
        raise AssertionError(f"{name} was looked for")

    monkeypatch.setattr("cnntrain.config.source._find_part", find_spec)
    for target in ("os.system", "myparts.Net", "cnntrain.cli.main", "torch.load", "cnntrain.engine.checkpoint.write"):
        assert "checkpoint" in problem({"_target_": target}, place="model", trust=["elsewhere"])


def test_listed_modules_are_trusted_but_not_what_they_import(parts):
    assert check(net(depth=3), place="model", trust=["myparts"]).values == {"depth": 3}
    assert check(net(depth=3), place="model", trust=["myparts"]).replace(depth=4).values == {"depth": 4}
    assert "does not itself define 'Recipe'" in problem({"_target_": "myparts.Recipe"}, place="model", trust=["myparts"])
    assert "not trusted" in problem(net(), place="model", trust=["mypart", ""])
    (parts / "sneaky.py").write_text("import os\nfrom os import *\nrun = os.system\n")
    for name in ("os.system", "system", "run"):
        assert "does not itself define" in problem({"_target_": f"sneaky.{name}", "command": "true"}, place="model", trust=["sneaky"])


def test_nested_nodes_are_held_to_the_same():
    told = problem(net(backbone={"_target_": "os.system", "command": "true"}), place="model", trust=["myparts"])
    assert told == "model.backbone._target_: 'os.system' is not trusted in a config from a checkpoint"


def test_torch_models_are_trusted():
    recipe = check({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, place="model", trust=())
    assert recipe().weight.shape == (3, 2)
    misspelt = {"_target_": "torch.nn.Linear", "in_features": 2, "out_feature": 3}
    assert "did you mean 'out_features'" in problem(misspelt, place="model", trust=())


def test_a_checkpoints_config_is_text():
    recipe = check(net(name="${oc.env:HOME}"), place="model", trust=["myparts"])
    assert recipe.values["name"] == "${oc.env:HOME}" and recipe.plain() == net(name="${oc.env:HOME}")


# --- cost


def test_check_imports_neither_torch_nor_hydra(parts):
    code = f"""
        import sys
        sys.path.insert(0, {str(parts)!r})
        import cnntrain.config.recipe as recipe
        recipe.check({tree()!r})
        print([name for name in ("torch", "hydra", "omegaconf", "numpy", "myparts") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_check_is_cheap():
    check(tree())
    read("myparts.Net")
    start = time.process_time()  # not the wall's time: other tests may run beside this one
    for _ in range(5):
        check(tree())
    assert (time.process_time() - start) / 5 < 0.1
