"""LeNet-5's criterion against its equation 9, in double precision."""

import math

import pytest
import torch
import torch.nn.functional as F

from cnntrain.loss.map_criterion import MapCriterion


@pytest.mark.parametrize("rubbish", [0.0, 0.5, 30.0])
def test_equation_9(rubbish):
    distances = 10 * torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1])
    expected = [y[k] + math.log(math.exp(-rubbish) + sum(math.exp(-d) for d in y)) for y, k in zip(distances.tolist(), labels, strict=True)]
    result = MapCriterion(rubbish=rubbish)(-distances, F.one_hot(labels, 3).double())
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


def test_a_far_rubbish_class_leaves_cross_entropy():
    logits, targets = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64).softmax(1)
    torch.testing.assert_close(MapCriterion(rubbish=1e3)(logits, targets), F.cross_entropy(logits, targets, reduction="none"))


def test_classes_beyond_the_rubbish_class_are_not_pushed():
    logits = torch.tensor([[-1.0, -5.0, -60.0]], requires_grad=True)
    MapCriterion(rubbish=10.0)(logits, torch.tensor([[1.0, 0.0, 0.0]])).sum().backward()
    pulled, pushed, left = logits.grad[0].tolist()
    assert pulled < 0 < pushed and abs(left) < 1e-12


def test_far_distances_do_not_overflow():
    result = MapCriterion(rubbish=0.1)(torch.tensor([[-500.0, -400.0]]), torch.tensor([[1.0, 0.0]]))
    assert result.item() == pytest.approx(500 - 0.1)
