import pytest
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.weights.groups import grouped


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm1 = nn.BatchNorm2d(2)
        self.fc1, self.head = nn.Linear(2, 2), nn.Linear(2, 2)


@pytest.fixture
def net():
    return Net()


def named(net, groups):
    names = {id(p): name for name, p in net.named_parameters()}
    return {group["lr_scale"]: [names[id(p)] for p in group["params"]] for group in groups}


def test_a_factor_for_each_pattern_and_the_rest(net):
    found = named(net, grouped(net, {"*norm*.bias": 64, "head.*": 20, "conv.bias": 64.0}))
    assert found == {
        64.0: ["conv.bias", "norm1.bias"],
        1.0: ["conv.weight", "norm1.weight", "fc1.weight", "fc1.bias"],
        20.0: ["head.weight", "head.bias"],
    }


def test_of_several_patterns_the_last_counts(net):
    found = named(net, grouped(net, {"*.bias": 2, "head.*": 3}))
    assert found[3.0] == ["head.weight", "head.bias"] and "fc1.bias" in found[2.0]
    assert "head.bias" in named(net, grouped(net, {"head.*": 3, "*.bias": 2}))[2.0]


@pytest.mark.parametrize(
    "lr_scale", [{}, {"fc1.*": 2}, {"conv.*": 2}, {"*.bias": 2}, {"head.weight": 5}, {"fc1.weight": 2, "head.bias": 2}]
)
def test_the_classifier_is_the_last_matrix_whatever_the_groups(net, lr_scale):
    """By which Muon finds it."""
    groups = grouped(net, lr_scale)
    assert next(p for group in reversed(groups) for p in reversed(group["params"]) if p.ndim == 2) is net.head.weight


def test_what_is_frozen_is_in_no_group(net):
    net.conv.weight.requires_grad_(False)
    assert "conv.weight" not in named(net, grouped(net, {}))[1.0]
    with pytest.raises(ConfigError, match="'conv.weight' matches no parameter that is trained"):
        grouped(net, {"conv.weight": 2})


@pytest.mark.parametrize(("pattern", "meant"), [("haed.*", "head"), ("*nrom1.bias", "norm1.bias"), ("fc1.wieght", "fc1.weight")])
def test_a_pattern_without_a_match_is_told_with_what_was_meant(net, pattern, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'") as error:
        grouped(net, {pattern: 2})
    assert "weights.lr_scale" in str(error.value) and "conv.weight" in str(error.value)
