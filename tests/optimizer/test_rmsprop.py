"""RMSprop by its formula."""

import pytest
import torch


@pytest.mark.parametrize("centered", [False, True])
def test_equals_the_formula(centered, build):
    start, rate, alpha, momentum, eps, decay = torch.tensor([[1.0, -2.0]]), 0.1, 0.9, 0.8, 1e-6, 0.3
    parameter = torch.nn.Parameter(start.clone())
    optimizer = build("rmsprop", [parameter], lr=rate, alpha=alpha, momentum=momentum, eps=eps, weight_decay=decay, centered=centered)
    p, square, mean, v = start.double(), 0.0, 0.0, 0.0
    for grad in ([[0.5, 1.0]], [[-1.0, 2.0]], [[0.25, 0.0]]):
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        g = torch.tensor(grad).double() + decay * p
        square, mean = alpha * square + (1 - alpha) * g * g, alpha * mean + (1 - alpha) * g
        v = momentum * v + g / ((square - mean**2 * centered).sqrt() + eps)
        p = p - rate * v
        torch.testing.assert_close(parameter.detach().double(), p, rtol=1e-5, atol=1e-6)
