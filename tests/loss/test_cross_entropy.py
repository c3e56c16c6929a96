"""Cross entropy against torch's own and against its formula."""

import pytest
import torch
import torch.nn.functional as F

from cnntrain.errors import ConfigError
from cnntrain.loss.cross_entropy import CrossEntropy

COUNTS = [10, 30, 60]


def data():
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=source, dtype=torch.float64)
    return logits, torch.rand(7, 3, generator=source, dtype=torch.float64).softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 3.0]])
def test_equals_the_formula(smoothing, weights):
    """Smoothed targets times log probabilities times weights, with mixed targets."""
    logits, targets = data()
    smooth = (1 - smoothing) * targets + smoothing / 3
    expected = -(smooth * logits.log_softmax(1) * torch.tensor(weights or [1.0] * 3)).sum(1)
    result = CrossEntropy(class_counts=COUNTS, smoothing=smoothing, class_weights=weights)(logits, targets)
    assert result.shape == (7,)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch_on_class_numbers(smoothing):
    """One-of-c targets give what class numbers give."""
    logits, _ = data()
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    result = CrossEntropy(class_counts=COUNTS, smoothing=smoothing)(logits, torch.eye(3, dtype=torch.float64)[labels])
    torch.testing.assert_close(result, F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none"))


def test_weighted_mean_is_torchs_over_probabilities():
    """The mean divides by the number of samples, as torch's does for probabilities."""
    logits, targets = data()
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    result = CrossEntropy(class_counts=COUNTS, class_weights=weights.tolist())(logits, targets)
    torch.testing.assert_close(result.mean(), F.cross_entropy(logits, targets, weight=weights))


def test_balanced_weights():
    """N / (K·n_k): every class pulls alike, and the mean weight over the samples is one."""
    loss = CrossEntropy(class_counts=COUNTS, class_weights="balanced")
    torch.testing.assert_close(loss.weights, torch.tensor([100 / 30, 100 / 90, 100 / 180], dtype=torch.float64))
    assert (loss.weights * torch.tensor(COUNTS)).sum().item() == pytest.approx(100)
    logits = torch.zeros(3, 3)
    torch.testing.assert_close(loss(logits, torch.eye(3)) * torch.tensor(COUNTS), torch.full((3,), 100 / 3) * torch.tensor(3.0).log())


def test_weights_that_do_not_fit():
    """A wrong number of weights and an empty class are told with their remedy."""
    with pytest.raises(ConfigError, match=r"2 class weights for 3 classes \(loss.class_weights\)\. Fix: give 3 numbers"):
        CrossEntropy(class_counts=COUNTS, class_weights=[1.0, 2.0])
    with pytest.raises(ConfigError, match="class 1 has no training sample"):
        CrossEntropy(class_counts=[3, 0, 2], class_weights="balanced")


def test_gradient():
    """The gradient for one sample is softmax minus target."""
    logits, targets = data()
    logits.requires_grad_()
    CrossEntropy(class_counts=COUNTS)(logits, targets).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - targets)
