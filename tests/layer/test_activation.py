"""Activations by name: values, and what works in place."""

import math

import pytest
import torch

from cnntrain.layer.activation import Activation, activation

NAMES = Activation.__args__


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0.0, 0.0, 1.5]),
        ("leaky_relu", [-0.02, 0.0, 1.5]),
        ("tanh", [math.tanh(-2), 0.0, math.tanh(1.5)]),
        ("scaled_tanh", [1.7159 * math.tanh(-4 / 3), 0.0, 1.7159 * math.tanh(1)]),
        ("sigmoid", [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-1.5))]),
        ("elu", [math.exp(-2) - 1, 0.0, 1.5]),
        ("gelu", [-2 * (1 + math.erf(-2 / math.sqrt(2))) / 2, 0.0, 1.5 * (1 + math.erf(1.5 / math.sqrt(2))) / 2]),
    ],
)
def test_values(name, expected):
    x = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.double)
    torch.testing.assert_close(activation(name)(x.clone()), torch.tensor(expected, dtype=torch.double))


def test_scaled_tanh_goes_through_plus_and_minus_one():
    torch.testing.assert_close(activation("scaled_tanh")(torch.tensor([-1.0, 1.0])), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_in_place_only_if_allowed_and_the_gradient_is_right(name):
    x = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.double)
    kept = x.clone()
    activation(name, inplace=False)(x)
    assert torch.equal(x, kept)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: activation(name)(x * 1), x)


def test_every_name_of_the_alias_is_there():
    assert len({type(activation(name)) for name in NAMES}) == len(NAMES) == 7
