"""One group of everything that learns."""

import pytest
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.weights.scratch import scratch


def test_one_group_of_all_trainable_parameters():
    """The model comes back as it is; a frozen parameter stands in no group."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[0].bias.requires_grad_(False)
    same, groups = scratch(model=model)
    assert same is model and len(groups) == 1 and groups[0]["lr_scale"] == 1.0
    assert [id(p) for p in groups[0]["params"]] == [id(model[0].weight), id(model[1].weight), id(model[1].bias)]


def test_factors_of_the_learning_rate():
    """By patterns of the names; the rest keeps the schedule's rate."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    _, groups = scratch(model=model, lr_scale={"1.*": 20})
    assert {group["lr_scale"]: len(group["params"]) for group in groups} == {20.0: 2, 1.0: 2}


def test_nothing_to_train():
    """It is told at once."""
    with pytest.raises(ConfigError, match="no trainable parameter"):
        scratch(model=nn.ReLU())
