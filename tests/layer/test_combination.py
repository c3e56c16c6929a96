"""Learned combinations of feature maps (SPEC L11): formula, derivatives in double precision, and what the two penalties do."""

import math

import pytest
import torch
import torch.nn.functional as F

from cnntrain.layer.combination import Combination


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Combination(4, 3, kernel=3).double()


def test_columns_are_shares(layer):
    shares = layer.shares()
    assert shares.shape == (4, 3) and (shares >= 0).all() and (shares <= 1).all()
    torch.testing.assert_close(shares.sum(0), torch.ones(3, dtype=torch.float64))


def test_formula(layer):
    torch.nn.init.normal_(layer.bias)
    x, alpha = torch.randn(2, 4, 7, 6, dtype=torch.float64), layer.scores.exp() / layer.scores.exp().sum(0)
    single = [F.conv2d(x[:, i : i + 1], layer.weight[None, i : i + 1]) for i in range(4)]  # x_i * k_i
    expected = [sum(alpha[i, j] * single[i] for i in range(4)) + layer.bias[j] for j in range(3)]
    torch.testing.assert_close(layer(x), torch.cat(expected, 1))


def test_derivative_by_the_scores(layer):
    x, target = torch.randn(2, 4, 7, 6, dtype=torch.float64), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    u = layer(x)
    ((u - target).square().sum() / 2).backward()
    with torch.no_grad():
        delta, alpha = u - target, layer.shares()
        single = F.conv2d(x, layer.weight[:, None], groups=4)
        by_alpha = torch.einsum("njhw,nihw->ij", delta, single)  # ∂E/∂α_ij
        torch.testing.assert_close(layer.scores.grad, alpha * (by_alpha - (by_alpha * alpha).sum(0)))


def test_the_penalty_as_written_is_constant(layer):
    value = layer.penalty("l1")
    value.backward()
    assert value.item() == pytest.approx(3, abs=1e-12)  # 1 for each column
    assert layer.scores.grad.abs().max() <= 1e-15


def test_the_entropy(layer):
    value = layer.penalty("entropy")
    value.backward()
    shares = layer.shares().detach()
    torch.testing.assert_close(value.detach(), -(shares * shares.log()).sum())
    assert layer.scores.grad.abs().max() > 1e-2
    torch.nn.init.zeros_(layer.scores)  # equal shares: the largest value
    assert layer.penalty("entropy").item() == pytest.approx(3 * math.log(4))


@pytest.mark.parametrize(("kind", "sparse"), [("l1", False), ("entropy", True)])
def test_only_the_entropy_makes_columns_sparse(layer, kind, sparse):
    before = layer.scores.detach().clone()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(layer.penalty(kind), layer.scores)
        with torch.no_grad():
            layer.scores -= gradient
    largest = layer.shares().max(0).values
    if sparse:
        assert (largest > 0.98).all()
    else:
        torch.testing.assert_close(layer.scores.detach(), before, rtol=0, atol=1e-12)
        assert (largest < 0.9).any()


def test_the_entropy_of_a_share_that_rounds_to_nothing_has_a_gradient():
    layer = Combination(2, 1, kernel=1)
    with torch.no_grad():
        layer.scores.copy_(torch.tensor([[500.0], [-500.0]]))
    layer.penalty("entropy").backward()
    assert torch.isfinite(layer.scores.grad).all() and layer.penalty("entropy").item() == 0
