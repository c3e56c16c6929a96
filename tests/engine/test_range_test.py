"""The range test: what it does to the learning rate, what its rules find, and that it leaves everything as it was."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from cnntrain.engine.machine import Machine
from cnntrain.engine.range_test import RULES, learning_rates, longest_fall, range_test, smooth, suggest
from cnntrain.errors import ConfigError


class Goal:
    """Cross entropy; with a tensor of its own, and it counts its calls."""

    def __init__(self):
        self.calls, self.scale = 0, torch.ones(1)

    def __call__(self, model, inputs, targets):
        self.calls += 1
        losses = nn.functional.cross_entropy(model(inputs), targets, reduction="none")
        return losses.mean(), {"loss_sum": losses.detach().sum(), "correct": torch.zeros(()), "count": len(inputs)}


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(4 * 36, 3))


def batches(steps, size=16):
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        labels = torch.randint(3, (size,), generator=generator)
        images = torch.randn(size, 1, 8, 8, generator=generator) + 2 * (labels.float() - 1)[:, None, None, None]
        yield images, nn.functional.one_hot(labels, 3).float()


def sgd(*, params):
    return torch.optim.SGD(params, lr=1.0, momentum=0.9)


def run(model=None, steps=120, make=sgd, goal=None, **options):
    model = model or net()
    options = {"start": 1e-5, "end": 10.0} | options
    half = list(model.parameters())
    groups = [{"params": half[:2], "lr_scale": 1.0}, {"params": half[2:], "lr_scale": 0.5}]
    return range_test(
        model=model,
        groups=groups,
        make_optimizer=make,
        batches=batches(steps),
        objective=goal or Goal(),
        machine=Machine(device="cpu"),
        steps=steps,
        **options,
    )


def test_learning_rates_of_both_scales():
    assert learning_rates(0.001, 1.0, 4, "exponential") == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert learning_rates(0.1, 0.4, 4, "linear") == pytest.approx([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ConfigError):
        learning_rates(1.0, 0.1, 4, "linear")


def test_each_group_gets_the_learning_rate_times_its_own_factor():
    seen = []

    def spy(*, params):
        optimizer = sgd(params=params)
        optimizer.register_step_pre_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
        return optimizer

    found = run(make=spy, steps=5, start=0.01, end=0.1)
    assert seen == [pytest.approx([lr, lr / 2]) for lr in found.lrs]


def test_model_objective_and_generators_are_left_as_they_were():
    model, goal = net(), Goal()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    assert len(run(model, goal=goal).lrs) > 20
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight)) and model[5].weight.grad is None
    assert goal.calls == 0
    assert (
        random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all() and torch.equal(torch.get_rng_state(), states[2])
    )


def test_the_same_seed_gives_the_same_test_whatever_was_drawn_before():
    first = run()
    torch.rand(7)
    assert run().losses == first.losses
    assert run(seed=1).losses != first.losses


def test_it_ends_where_the_loss_explodes_and_finds_a_rate_that_learns():
    found = run(start=1e-5, end=1e4, steps=200)
    assert "exploded" in found.ended or "finite" in found.ended or "nan" in found.ended
    assert len(found.lrs) < 200
    assert set(found.suggestions) == set(RULES)
    assert found.suggestions["base_lr"] < found.suggestions["max_lr"]
    assert 1e-3 < found.suggestion < 10

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=found.suggestion, momentum=0.9)
    losses = []
    for images, targets in batches(40):
        optimizer.zero_grad()
        loss, _ = Goal()(model, images, targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) / 5 < losses[0] / 3


def test_a_test_without_any_fall_suggests_nothing_and_says_so():
    found = run(start=1e-12, end=1e-9, steps=40)
    assert found.suggestions == {}
    with pytest.raises(ConfigError, match="the loss never fell"):
        _ = found.suggestion


def test_each_step_is_reported_and_may_end_the_test():
    class Leave(Exception):
        pass

    steps = []

    def leave(step, lr, loss):
        steps.append((step, lr))
        if step == 3:
            raise Leave

    with pytest.raises(Leave):
        run(on_step=leave)
    assert [step for step, _ in steps] == [0, 1, 2, 3] and steps[0][1] == 1e-5


def curve(n=400, noise=0.0):
    """A loss of known shape: flat to 1e-3, straight down in log(lr) to 0.1, flat to 1, then up."""
    lrs = learning_rates(1e-6, 10.0, n, "exponential")
    generator = np.random.default_rng(0)
    exact = [2.0 - 0.75 * min(max(math.log10(lr) + 3, 0), 2) + 3 * max(math.log10(lr), 0) for lr in lrs]
    return lrs, [loss + noise * generator.standard_normal() for loss in exact]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_rules_find_the_places_they_are_named_for(noise):
    lrs, losses = curve(noise=noise)
    found = suggest(lrs, losses, smooth(losses, 0.9))

    def decades(rule, truth):
        return abs(math.log10(found[rule] / truth))

    assert decades("base_lr", 10**-2.8) < 0.25  # a tenth of the fall of two decades
    assert decades("max_lr", 0.1) < 0.4
    assert 10**-2.9 < found["steepest"] < 10**-1.1
    assert decades("valley", 1e-2) < 0.6
    assert 0.008 < found["minimum/10"] < 0.12
    assert list(found) == list(RULES)


def test_smoothing_has_no_lag_and_a_spike_at_the_end_does_not_reach_back():
    _, losses = curve()
    smoothed = smooth(losses, 0.9)
    middle = [i for i in range(len(losses)) if abs(losses[i] - 1.25) < 0.005]
    assert max(abs(smoothed[i] - losses[i]) for i in middle) < 0.02
    spiked = smooth([*losses[:-1], 1e9], 0.9)
    assert max(abs(a - b) for a, b in zip(spiked[:-60], smoothed[:-60], strict=True)) < 0.01


def test_longest_fall_against_all_subsequences():
    def slow(values):
        best = [1] * len(values)
        for i in range(len(values)):
            best[i] = 1 + max((best[j] for j in range(i) if values[j] > values[i]), default=0)
        return max(best)

    source = random.Random(0)
    for _ in range(50):
        values = [source.randrange(12) for _ in range(source.randrange(1, 20))]
        head, tail = longest_fall(values)
        assert head <= tail and (head == tail or values[head] > values[tail])
        assert slow(values[head : tail + 1]) == slow(values)
