"""A net within another is told of by its own place: what its constructor refuses, and the fix, which is typed and works."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from cnntrain.config.find import shipped
from cnntrain.config.recipe import check
from cnntrain.config.source import find_module
from cnntrain.errors import ConfigError

FACTS = {"in_channels": 3, "num_classes": 5, "image_size": 32}
# What constructors refuse, by option: values that cannot be, and the key that is named.
REFUSED = [
    ("bouvrie", {"penalty": "entropy"}, "penalty"),
    ("cats_dogs_cnn", {"one_output": True}, "one_output"),
    ("conv_autoencoder", {"widths": []}, "widths"),
    ("filtered", {"filters": [], "net": {"_target_": "cnntrain.model.lenet.LeNet5"}}, "filters"),
    ("fractalnet20", {"dropout": [0.1]}, "dropout"),
    ("fractalnet20", {"columns": 20, "widths": [4], "dropout": [0.0]}, "columns"),
    ("fractalnet20", {"column": 9}, "column"),
    ("resnet20", {"depth": 19}, "depth"),
    ("wrn_16_4", {"depth": 15}, "depth"),
    ("plain20", {"stochastic_depth": 0.5}, "stochastic_depth"),
    ("plain18", {"zero_init_residual": True}, "zero_init_residual"),
    ("timm", {"name": "resnet5000"}, "name"),
    ("torchvision", {"name": "resnet999"}, "name"),
]
DEEP = {1: "model", 2: "model.net", 3: "model.net.net"}
NOT_HERE = {"pretrained"}  # which asks the network


def within(node, depth):
    """A node within as many filtered nets as are wanted."""
    for _ in range(depth - 1):
        node = {"_target_": "cnntrain.model.filtered.Filtered", "filters": ["sobel_x"], "net": node}
    return node


def build(tree):
    with torch.device("meta"):
        return check(tree, place="model")(**FACTS)


@pytest.mark.parametrize(
    ("option", "values", "key", "depth"),
    [
        *((*one, depth) for one in REFUSED for depth in (1, 2)),
        ("filtered", REFUSED[3][1], "filters", 3),
        ("resnet20", {"depth": 19}, "depth", 3),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_a_constructor_refuses_is_named_by_its_place(option, values, key, depth):
    if option == "timm" and find_module("timm") is None:
        pytest.skip("timm is not installed")
    node = yaml.safe_load((shipped() / "model" / f"{option}.yaml").read_text())
    node.pop("defaults", None)
    tree = within(node | values, depth)
    with pytest.raises(ConfigError) as caught:
        build(tree)
    assert caught.value.where == f"{DEEP[depth]}.{key}" and f"({caught.value.where})" in str(caught.value)
    named = re.findall(r"(model[\w.]*)=([^\s,]+(?:,[^\s]+)*)", caught.value.fix)
    assert named, caught.value.fix
    *nodes, last = named[0][0].split(".")[1:]
    inner = tree
    for name in nodes:
        inner = inner[name]
    assert last in inner, f"{named[0][0]} is no key"
    inner[last] = yaml.safe_load(named[0][1])
    build(tree)


def test_every_key_that_a_constructor_names_is_tried():
    folder = shipped().parent / "cnntrain"
    text = "".join(Path(path).read_text() for name in ("model", "layer") for path in (folder / name).glob("*.py"))
    assert set(re.findall(r'where="model\.(\w+)"', text)) - NOT_HERE == {key for _, _, key in REFUSED}
