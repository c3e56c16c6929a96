"""Bouvrie's back-propagation (SPEC L13), written out as in his note, against autograd in double precision.

His `conv2` is scipy's `convolve2d`, a true convolution; our nets correlate, which is the same with kernels turned by 180°.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d as conv2

from cnntrain.layer.combination import Combination
from cnntrain.loss.mse import SquaredError
from cnntrain.model.bouvrie import Bouvrie

Array = NDArray[np.float64]


def sigmoid(u: Array) -> Array:
    return 1 / (1 + np.exp(-u))


FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {  # f and f'
    "sigmoid": (sigmoid, lambda u: sigmoid(u) * (1 - sigmoid(u))),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "scaled_tanh": (lambda u: 1.7159 * np.tanh(2 / 3 * u), lambda u: 1.7159 * 2 / 3 * (1 - np.tanh(2 / 3 * u) ** 2)),
}


def rot180(a: Array) -> Array:
    return np.rot90(a, 2, axes=(-2, -1))


def down(x: Array, n: int) -> Array:
    return x.reshape(x.shape[0] // n, n, x.shape[1] // n, n).sum((1, 3))


class Note:
    """Forward and backward pass of one picture through a `Bouvrie` net, with its numbers and the note's formulas."""

    def __init__(self, net: Bouvrie, activation: str) -> None:
        self.f, self.slope = FUNCTIONS[activation]
        self.values = {name: value.detach().numpy() for name, value in net.named_parameters()}
        self.mixes = [isinstance(stage.conv, Combination) for stage in net.stages]
        self.n = net.stages[0].pool.size

    def kernels(self, stage: int) -> Array:
        """k_ij of a true convolution, (in, out, n, n); α_ij k_i where combinations are learned."""
        weight = rot180(self.values[f"stages.{stage}.conv.weight"])
        if self.mixes[stage]:
            return self.alpha(stage)[:, :, None, None] * weight[:, None]
        return weight.swapaxes(0, 1)

    def alpha(self, stage: int) -> Array:
        exp = np.exp(self.values[f"stages.{stage}.conv.scores"])
        return exp / exp.sum(0)

    def forward(self, x: Array) -> Array:
        """(C, H, W) → outputs (K,); keeps what the way back needs."""
        self.inputs, self.u, self.sums, self.v = [], [], [], []
        for stage in range(len(self.mixes)):
            at = f"stages.{stage}."
            k, b = self.kernels(stage), self.values[at + "conv.bias"]
            self.inputs.append(x)
            u = np.stack([sum(conv2(x[i], k[i, j], "valid") for i in range(len(x))) + b[j] for j in range(len(b))])
            sums = np.stack([down(one, self.n) for one in self.f(u)])
            v = self.values[at + "pool.weight"][:, None, None] * sums + self.values[at + "pool.bias"][:, None, None]
            x = self.f(v)
            self.u.append(u), self.sums.append(sums), self.v.append(v)
        self.flat = x.transpose(1, 2, 0).reshape(-1)
        self.last = self.values["fc.weight"] @ self.flat + self.values["fc.bias"]
        return self.f(self.last)

    def backward(self, target: Array) -> dict[str, Array]:
        """∂E/∂(each parameter) for E = ½ Σ (t - y)²."""
        delta = self.slope(self.last) * (self.f(self.last) - target)  # δ^L
        gradients = {"fc.weight": np.outer(delta, self.flat), "fc.bias": delta}
        below = self.values["fc.weight"].T @ delta
        channels, height, width = self.v[-1].shape
        error = below.reshape(height, width, channels).transpose(2, 0, 1)  # what reaches the outputs of a subsampling
        for stage in reversed(range(len(self.mixes))):
            at, x, k = f"stages.{stage}.", self.inputs[stage], self.kernels(stage)
            delta = self.slope(self.v[stage]) * error
            gradients[at + "pool.bias"] = delta.sum((1, 2))
            gradients[at + "pool.weight"] = (delta * self.sums[stage]).sum((1, 2))
            up = np.stack([np.kron(one, np.ones((self.n, self.n))) for one in delta])
            delta = self.values[at + "pool.weight"][:, None, None] * (self.slope(self.u[stage]) * up)
            gradients[at + "conv.bias"] = delta.sum((1, 2))
            by_kernel = np.stack([[rot180(conv2(one, rot180(d), "valid")) for d in delta] for one in x])  # ∂E/∂k_ij
            gradients |= self.by_weights(stage, by_kernel, delta)
            error = np.stack([sum(conv2(d, rot180(k[i, j]), "full") for j, d in enumerate(delta)) for i in range(len(x))])
        return gradients

    def by_weights(self, stage: int, by_kernel: Array, delta: Array) -> dict[str, Array]:
        """From ∂E/∂k_ij to our correlation's weights, and through the shares where combinations are learned."""
        at = f"stages.{stage}.conv."
        if not self.mixes[stage]:
            return {at + "weight": rot180(by_kernel).swapaxes(0, 1)}
        alpha, kernel = self.alpha(stage), rot180(self.values[at + "weight"])
        single = [conv2(x, k, "valid") for x, k in zip(self.inputs[stage], kernel, strict=True)]  # x_i * k_i
        by_alpha = np.array([[(d * z).sum() for d in delta] for z in single])
        by_scores = alpha * (by_alpha - (by_alpha * alpha).sum(0))
        return {at + "weight": rot180((alpha[:, :, None, None] * by_kernel).sum(1)), at + "scores": by_scores}


@pytest.mark.parametrize("combinations", [False, True])
@pytest.mark.parametrize("activation", list(FUNCTIONS))
def test_the_notes_formulas_are_autograds_gradients(activation, combinations):
    torch.manual_seed(0)
    net = Bouvrie(
        widths=(2, 3), kernel=3, activation=activation, combinations=combinations, in_channels=2, num_classes=3, image_size=14
    ).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    images, labels = torch.randn(4, 2, 14, 14, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    one_of_c = torch.nn.functional.one_hot(labels, 3).double()
    loss = SquaredError(targets="zero_one" if activation == "sigmoid" else "plus_minus")
    errors = loss(net(images), one_of_c)
    errors.sum().backward()

    note, total = Note(net, activation), dict.fromkeys(dict(net.named_parameters()), 0.0)
    targets = (one_of_c if activation == "sigmoid" else 2 * one_of_c - 1).numpy()
    for image, target, error in zip(images.numpy(), targets, errors.tolist(), strict=True):
        assert ((target - note.forward(image)) ** 2).sum() / 2 == pytest.approx(error, rel=1e-12)
        total = {name: total[name] + gradient for name, gradient in note.backward(target).items()}
    assert set(total) == set(dict(net.named_parameters()))
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(total[name], parameter.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_with_cross_correlation_the_outer_turn_is_dropped():
    x, delta = np.random.default_rng(0).normal(size=(7, 7)), np.random.default_rng(1).normal(size=(5, 5))
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    u = torch.nn.functional.conv2d(torch.from_numpy(x)[None, None], weight)
    (u * torch.from_numpy(delta)).sum().backward()
    np.testing.assert_allclose(weight.grad[0, 0].numpy(), conv2(x, rot180(delta), "valid"))
