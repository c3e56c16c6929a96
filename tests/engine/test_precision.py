import copy

import pytest
import torch
from torch import nn

from cnntrain.engine.machine import Machine
from cnntrain.engine.precision import Precision, set_hyperparameters
from cnntrain.errors import DivergedError
from cnntrain.loss.cross_entropy import CrossEntropy
from cnntrain.objective.classification import Classification


def make(microbatch=None, clip=None, precision="fp32"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    optimizer = torch.optim.SGD([{"params": list(model.parameters()), "lr_scale": 1.0}], lr=0.1)
    machine = Machine(device="cpu", precision=precision)
    return model, Precision(optimizer, machine=machine, clip=clip, microbatch=microbatch)


def batch(size=10):
    source = torch.Generator().manual_seed(1)
    targets = torch.softmax(torch.randn(size, 3, generator=source), 1)
    return torch.randn(size, 1, 8, 8, generator=source), targets


GOAL = Classification(loss=CrossEntropy(class_counts=[1, 1, 1], smoothing=0.1), num_classes=3)


@pytest.mark.parametrize("microbatch", [1, 3, 4, 5, 10, 64])
def test_microbatches_make_the_step_of_the_whole_batch(microbatch):
    inputs, targets = batch()
    whole, plain = make()
    parts, split = make(microbatch=microbatch)
    stats = plain.backward(GOAL, whole, inputs, targets), split.backward(GOAL, parts, inputs, targets)
    plain.step(0), split.step(0)
    for mine, theirs in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert stats[0]["count"] == stats[1]["count"] == 10 and stats[0]["correct"] == stats[1]["correct"]
    torch.testing.assert_close(stats[0]["loss_sum"], stats[1]["loss_sum"])


@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e6])
def test_clipping_bounds_the_step_and_reports_the_norm_before(clip):
    inputs, targets = batch()
    model, precision = make(clip=clip)
    before = copy.deepcopy(model)
    precision.backward(GOAL, model, inputs, targets)
    expected = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    norm = precision.step(0)
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), before.parameters(), strict=True)]).norm() / 0.1
    torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(moved.detach(), expected.clamp(max=clip), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_leaves_the_weights(bad):
    inputs, targets = batch()
    model, precision = make()
    before = copy.deepcopy(model.state_dict())
    precision.backward(GOAL, model, inputs, targets)
    model[0].weight.grad[0, 0, 0, 0] = bad
    with pytest.raises(DivergedError, match="step 8.*learning rate 0.1") as error:
        precision.step(7)
    assert error.value.exit_code == 5
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_half_precision_runs_in_half_and_learns_in_full():
    seen = []
    for precision in ("bf16", "fp16"):
        inputs, targets = batch()
        model, stepper = make(precision=precision)
        model[2].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
        stats = stepper.backward(GOAL, model, inputs, targets)
        stepper.step(0)
        assert stats["loss_sum"].dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert seen == [torch.bfloat16, torch.float16]


def test_loss_scaling_skips_a_step_that_overflows():
    inputs, targets = batch()
    model, stepper = make(precision="fp16")
    before, scale = copy.deepcopy(model.state_dict()), stepper.scaler.get_scale()
    stepper.backward(GOAL, model, inputs, targets)
    model[0].weight.grad[0] = float("inf")
    stepper.step(0)
    assert stepper.scaler.get_scale() < scale
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_hyperparameters_reach_every_group_with_its_own_factor():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]

    def groups():
        return [{"params": [weights[0]], "lr_scale": 1.0}, {"params": [weights[1]], "lr_scale": 20.0}]

    sgd, plain = torch.optim.SGD(groups(), lr=1.0, momentum=0.9), torch.optim.SGD(groups(), lr=1.0)
    adam = torch.optim.Adam(groups(), lr=1.0)
    for optimizer in (sgd, adam, plain):
        set_hyperparameters(optimizer, {"lr": 0.5, "momentum": 0.8})
        assert [group["lr"] for group in optimizer.param_groups] == [0.5, 10.0]
    assert [group["momentum"] for group in sgd.param_groups] == [0.8, 0.8]
    assert [group["betas"] for group in adam.param_groups] == [(0.8, 0.999)] * 2
    assert [group["momentum"] for group in plain.param_groups] == [0, 0], "plain gradient descent stays plain"
