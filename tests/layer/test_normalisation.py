"""What torch has of normalisation and dropout, against the formulas by which our nets use it."""

import pytest
import torch
from torch import nn

from cnntrain.layer.response_norm import response_norm


def test_local_response_normalisation_is_alexnets_formula():
    torch.manual_seed(0)
    x = 20 * torch.randn(2, 9, 3, 4).double()
    expected = torch.empty_like(x)
    for channel in range(9):
        near = x[:, max(0, channel - 2) : channel + 3]
        expected[:, channel] = x[:, channel] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(response_norm()(x), expected)
    as_written = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)(x)  # torch divides alpha by n
    assert not torch.allclose(as_written, expected)


def test_batch_norm_is_the_batchs_in_training_and_the_running_one_in_evaluation():
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(3).double(), 2 + 3 * torch.randn(8, 3, 4, 5).double()
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.1 * mean.flatten())
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * var.flatten() * 160 / 159)
    norm.eval()
    running = norm.running_mean.view(1, 3, 1, 1), norm.running_var.view(1, 3, 1, 1)
    torch.testing.assert_close(norm(x), (x - running[0]) / (running[1] + 1e-5).sqrt())


def test_dropout_keeps_the_expectation_and_is_nothing_in_evaluation():
    torch.manual_seed(0)
    x = torch.ones(40_000)
    out = nn.Dropout(0.5)(x)
    assert set(out.tolist()) == {0.0, 2.0} and out.mean().item() == pytest.approx(1, abs=0.02)
    assert nn.Dropout(0.5).eval()(x) is x
