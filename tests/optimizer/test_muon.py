"""Muon against torch's (which takes matrices only) and its own definition."""

import functools

import pytest
import torch

import cnntrain.optimizer.muon as own
from cnntrain.optimizer.muon import muon, orthogonalise


def step(optimizer, parameters, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def matrix(*shape):
    return torch.nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(5)))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (4, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 1e-6), (None, 0.02)])
def test_equals_torch_on_matrices(shape, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(own, "orthogonalise", functools.partial(orthogonalise, dtype=dtype))
    one, other, start = matrix(*shape), matrix(*shape), matrix(*shape).detach()
    step(muon(params=[{"params": [one], "lr_scale": 1.0}], lr=0.1, weight_decay=0.05, head="muon"), [one])
    step(torch.optim.Muon([other], lr=0.1, weight_decay=0.05, momentum=0.95), [other])
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
    assert (one - start).abs().max() > 0.1


def test_a_filter_is_stepped_as_its_matrix():
    filters = matrix(6, 4, 3, 3)
    flat = torch.nn.Parameter(filters.detach().flatten(1).clone())
    for parameter in (filters, flat):
        optimizer = muon(params=[{"params": [parameter], "lr_scale": 1.0}], lr=0.1, head="muon")
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            parameter.grad = torch.randn(6, 36, generator=generator).reshape(parameter.shape)
            optimizer.step()
    torch.testing.assert_close(filters.flatten(1), flat, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (1, 5), (30, 30)])
def test_singular_values_come_near_one_and_the_directions_stay(shape):
    given = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    made, (u, s, v) = orthogonalise(given), torch.linalg.svd(given, full_matrices=False)
    inside = u.mT @ made @ v.mT
    large = s > 0.02 * s.norm()  # five steps lift what is not tiny
    assert ((inside.diag() > 0.6) & (inside.diag() < 1.25))[large].all()
    assert (inside - inside.diag().diag()).abs().max() < 1e-4


def test_the_rest_steps_as_sgd_with_nesterov_momentum_at_its_own_rate():
    one, other = matrix(7), matrix(7)
    optimizer = muon(params=[{"params": [one], "lr_scale": 2.0}], lr=0.1, rest_lr=0.5, momentum=0.9)
    assert optimizer.param_groups[0]["lr_scale"] == 1.0
    step(optimizer, [one])
    step(torch.optim.SGD([other], lr=0.1, momentum=0.9, nesterov=True), [other])
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("head", ["sgd", "muon"])
def test_what_is_orthogonal(head):
    filters, norm, hidden, last, bias = matrix(4, 3, 3, 3), matrix(4), matrix(5, 4), matrix(2, 5), matrix(2)
    params = [{"params": [filters, norm, hidden], "lr_scale": 0.1}, {"params": [last, bias], "lr_scale": 1.0}]
    groups = muon(params=params, head=head, rest_lr=3.0).param_groups
    orthogonal = {id(p) for group in groups if group["orthogonal"] for p in group["params"]}
    assert orthogonal == {id(p) for p in (filters, hidden, *([last] if head == "muon" else []))}
    for group in groups:
        assert group["momentum"] == 0.95 and group["lr"] == pytest.approx(0.02 * group["lr_scale"])
        assert {id(p) for p in group["params"]} & {id(norm), id(bias)} == set() or group["weight_decay"] == 0
    assert sorted(group["lr_scale"] for group in groups) == pytest.approx([0.1, 0.3, *([1.0] if head == "muon" else [3.0]), 3.0])


def test_a_fixed_norm_takes_the_place_of_decay_and_scale():
    filters = matrix(6, 2, 2, 2)
    optimizer = muon(params=[{"params": [filters], "lr_scale": 1.0}], lr=0.1, weight_decay=0.5, head="muon", fixed_norm=True, iterations=3)
    step(optimizer, [filters], count=1)
    generator = torch.Generator().manual_seed(0)
    gradient, start = torch.randn(6, 8, generator=generator), matrix(6, 2, 2, 2).detach().flatten(1)
    momentum = gradient * 0.05
    expected = start * 6**0.5 / start.norm() - 0.1 * orthogonalise(gradient.lerp(momentum, 0.95), iterations=3)
    torch.testing.assert_close(filters.detach().flatten(1), expected)


def test_the_rest_may_have_a_momentum_of_its_own():
    filters, bias = matrix(4, 2, 3, 3), matrix(4)
    groups = muon(params=[{"params": [filters, bias], "lr_scale": 1.0}], momentum=0.6, rest_momentum=0.85).param_groups
    assert [(group["orthogonal"], group["momentum"]) for group in groups] == [(True, 0.6), (False, 0.85)]


def test_a_step_that_is_found_not_finite_changes_nothing():
    filters, bias, twins = matrix(4, 2, 3, 3), matrix(4), (matrix(4, 2, 3, 3), matrix(4))
    optimizers = [muon(params=[{"params": list(some), "lr_scale": 1.0}], fixed_norm=True) for some in ((filters, bias), twins)]
    for optimizer, parameters in zip(optimizers, ((filters, bias), twins), strict=True):
        step(optimizer, parameters, count=1)
    kept = [tensor.clone() for tensor in (filters, bias, *(state["momentum_buffer"] for state in optimizers[0].state.values()))]
    optimizers[0].found_inf = torch.tensor(1.0)
    for parameter in (filters, bias):
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizers[0].step()
    after = [filters, bias, *(state["momentum_buffer"] for state in optimizers[0].state.values())]
    assert all(torch.equal(one, other) for one, other in zip(kept, after, strict=True))
    optimizers[0].found_inf = torch.tensor(0.0)
    for optimizer, parameters in zip(optimizers, ((filters, bias), twins), strict=True):
        step(optimizer, parameters, count=1, seed=3)
    assert torch.equal(filters, twins[0]) and torch.equal(bias, twins[1])
