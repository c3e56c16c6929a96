"""Targets, mean loss with auxiliary heads, and statistics."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cnntrain.engine.machine import Machine
from cnntrain.engine.precision import Precision
from cnntrain.loss.cross_entropy import CrossEntropy
from cnntrain.objective.classification import Classification


class Heads(nn.Module):
    """Gives back fixed outputs."""

    def __init__(self, *outputs) -> None:
        super().__init__()
        self.outputs = outputs if len(outputs) > 1 else outputs[0]

    def forward(self, inputs):
        return self.outputs


def objective(**changes):
    return Classification(loss=CrossEntropy(class_counts=[1, 1, 1]), num_classes=3, **changes)


def test_targets_are_one_hot():
    """Float32, one row a label; a label out of range is refused."""
    targets = objective().targets(torch.tensor([2, 0]))
    assert targets.dtype == torch.float32 and targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(RuntimeError):
        objective().targets(torch.tensor([3]))


def test_mean_loss_and_statistics():
    """The mean over samples; hits count the largest target's class, also where targets are mixed."""
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [1, 0, 0]])
    targets = torch.tensor([[1.0, 0, 0], [0.4, 0.6, 0], [0.5, 0.3, 0.2], [0, 0, 1]])
    total, stats = objective()(Heads(logits), torch.zeros(4, 1), targets)
    losses = -(targets * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(total, losses.mean())
    torch.testing.assert_close(stats["loss_sum"], losses.sum())
    assert stats["correct"].item() == 2 and stats["count"] == 4


def test_auxiliary_heads_count_by_their_weight():
    """They add to the loss, not to the statistics; a head that is off is None."""
    main, first, second = (torch.randn(4, 3, generator=torch.Generator().manual_seed(i)) for i in range(3))
    goal = objective(aux_weight=0.3)
    targets = goal.targets(torch.tensor([0, 1, 2, 0]))
    alone, plain = goal(Heads(main), torch.zeros(4, 1), targets)
    total, stats = goal(Heads(main, None, first, second), torch.zeros(4, 1), targets)
    expected = alone + 0.3 * (goal.loss(first, targets).mean() + goal.loss(second, targets).mean())
    torch.testing.assert_close(total, expected)
    assert torch.equal(stats["loss_sum"], plain["loss_sum"]) and torch.equal(stats["correct"], plain["correct"])


def test_gradient_flows_to_the_loss_only():
    """The mean loss has a gradient, the statistics have none, and half precision is left before the loss."""
    logits = torch.randn(4, 3, dtype=torch.bfloat16, requires_grad=True)
    goal = objective()
    total, stats = goal(Heads(logits), torch.zeros(4, 1), goal.targets(torch.tensor([0, 1, 2, 0])))
    assert total.dtype == torch.float32 and total.requires_grad
    assert not stats["loss_sum"].requires_grad and not stats["correct"].requires_grad
    total.backward()
    assert logits.grad.abs().sum() > 0


def test_monitor():
    """What chooses the best model."""
    assert objective().monitor == "accuracy" and objective(monitor="loss").monitor == "loss"


class Penalised(Heads):
    """With a penalty of its one weight."""

    def __init__(self, *outputs) -> None:
        super().__init__(*outputs)
        self.weight = nn.Parameter(torch.tensor(3.0))

    def penalty(self):
        return 0.5 * self.weight.square()


def test_a_models_penalty_is_added_to_the_loss_alone():
    logits, goal = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), objective()
    targets = goal.targets(torch.tensor([0, 1, 2, 0]))
    plain, expected = goal(Heads(logits), torch.zeros(4, 1), targets)
    model = Penalised(logits)
    total, stats = goal(model, torch.zeros(4, 1), targets)
    torch.testing.assert_close(total, plain + 4.5)
    assert all(stats[name] == expected[name] for name in expected)
    total.backward()
    assert model.weight.grad.item() == pytest.approx(3)


def test_an_attribute_of_that_name_that_is_no_function_is_left_alone():
    logits, goal = torch.zeros(4, 3), objective()
    model = Heads(logits)
    model.penalty = "l2"
    targets = goal.targets(torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(goal(model, logits, targets)[0], goal(Heads(logits), logits, targets)[0])


@pytest.mark.parametrize("microbatch", [1, 3, 4])
def test_a_penalty_counts_once_a_step_whatever_the_microbatch(microbatch):
    model, goal = Penalised(torch.zeros(1, 3)), objective()
    model.forward = lambda inputs: inputs + 0 * model.weight
    optimizer = SimpleNamespace(param_groups=[{"params": [model.weight]}])  # the real ones take seconds to import
    precision = Precision(optimizer, machine=Machine(device="cpu"), clip=None, microbatch=microbatch)
    precision.backward(goal, model, torch.randn(4, 3), goal.targets(torch.tensor([0, 1, 2, 0])))
    assert model.weight.grad.item() == pytest.approx(3)
