"""Bouvrie's net: its layers, what its penalties do to training, and what it refuses."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.combination import Combination
from cnntrain.layer.subsampling import Subsampling
from cnntrain.loss.mse import SquaredError
from cnntrain.model.bouvrie import Bouvrie
from cnntrain.objective.classification import Classification

FACTS = {"in_channels": 1, "num_classes": 3, "image_size": 14}


def build(**changes):
    torch.manual_seed(0)
    return Bouvrie(**{"widths": (4, 5), "kernel": 3, "combinations": True} | changes, **FACTS)


def test_convolution_and_subsampling_in_turn():
    net = Bouvrie(widths=(2, 3, 4), kernel=3, in_channels=1, num_classes=3, image_size=24)
    kinds = [type(module) for module in net.modules() if not list(module.children())]
    stage = [nn.Conv2d, nn.Sigmoid, Subsampling, nn.Sigmoid]
    assert [kind for kind in kinds if kind.__name__ != "PixelMajorFlatten"] == [*stage * 3, nn.Linear, nn.Sigmoid]
    assert net(torch.zeros(2, 1, 24, 24)).shape == (2, 3)


def test_the_first_layer_does_not_combine():
    convs = [stage.conv for stage in build(widths=(2, 3, 4), kernel=1).stages]
    assert [type(conv) for conv in convs] == [nn.Conv2d, Combination, Combination]


@pytest.mark.parametrize(("activation", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1), ("scaled_tanh", -1.7159, 1.7159)])
def test_the_outputs_are_the_activations(activation, low, high):
    net = build(activation=activation)
    net.fc.weight.data *= 1000
    outputs = net(torch.randn(50, 1, 14, 14))
    assert outputs.min().item() == pytest.approx(low, abs=1e-3) and outputs.max().item() == pytest.approx(high, abs=1e-3)


@pytest.mark.parametrize("combinations", [False, True])
@pytest.mark.parametrize(("activation", "middle"), [("sigmoid", 0.5), ("tanh", 0.0), ("scaled_tanh", 0.0)])
def test_at_the_start_signals_about_the_middle_pass(activation, middle, combinations):
    net = build(activation=activation, combinations=combinations)
    torch.testing.assert_close(net(torch.zeros(1, 1, 14, 14)), torch.full((1, 3), middle))
    seen = []
    net.fc.register_forward_hook(lambda module, inputs, output: seen.append(output.std(0).mean().item()))
    net(torch.randn(200, 1, 14, 14, generator=torch.Generator().manual_seed(1)))
    assert 0.05 < seen[0] < 5  # of noise, which averages out; by Glorot's rule alone the sigmoid form has 0.0003


def test_too_small_an_image_names_the_layer_and_the_smallest_size():
    with pytest.raises(ConfigError, match=r"layer stages\.1\.pool .*data.image_size=16,"):
        Bouvrie(in_channels=1, num_classes=10, image_size=15)


def test_a_penalty_without_combinations_is_refused():
    for changes, fix in (({}, "model.combinations=true"), ({"widths": (4,), "combinations": True}, "model.penalty=none")):
        with pytest.raises(ConfigError) as caught:
            build(penalty="entropy", **{"combinations": False} | changes)
        assert caught.value.fix == fix


def test_penalty_is_the_weighted_sum_over_the_combinations():
    net = build(widths=(3, 4, 2), kernel=1, penalty="entropy", penalty_weight=0.1)
    expected = 0.1 * (net.stages[1].conv.penalty("entropy") + net.stages[2].conv.penalty("entropy"))
    torch.testing.assert_close(net.penalty(), expected)
    assert build(penalty="l1", penalty_weight=0.5).penalty().item() == pytest.approx(0.5 * 5)
    assert build().penalty().item() == 0


def trained(penalty: str) -> Bouvrie:
    """After a few steps on seeded noise, through the objective."""
    net, source = build(penalty=penalty, penalty_weight=2.0, activation="scaled_tanh"), torch.Generator().manual_seed(1)
    goal = Classification(loss=SquaredError(targets="plus_minus"), num_classes=3)
    for _ in range(50):
        images, labels = torch.randn(6, 1, 14, 14, generator=source), torch.randint(0, 3, (6,), generator=source)
        total, _ = goal(net, images, goal.targets(labels))
        gradients = torch.autograd.grad(total, list(net.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    return net


def test_in_training_l1_changes_nothing_and_entropy_makes_columns_sparse():
    none, l1, entropy = (trained(kind) for kind in ("none", "l1", "entropy"))
    for mine, theirs in zip(none.parameters(), l1.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    disorder = [net.stages[1].conv.penalty("entropy").item() for net in (build(), none, entropy)]
    assert disorder[2] < 0.7 * min(disorder[:2])
