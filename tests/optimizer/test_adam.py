"""Adam and AdamW by their formulas: where the weight decay enters."""

import pytest
import torch


@pytest.mark.parametrize("method", ["adam", "adamw"])
def test_equals_the_formula(method, build):
    start, rate, decay, (b1, b2), eps = torch.tensor([[1.0, -2.0]]), 0.1, 0.3, (0.8, 0.95), 1e-6
    parameter = torch.nn.Parameter(start.clone())
    optimizer = build(method, [parameter], lr=rate, weight_decay=decay, betas=[b1, b2], eps=eps)
    p, m, s = start.double(), 0.0, 0.0
    for step, grad in enumerate(([[0.5, 1.0]], [[-1.0, 2.0]], [[0.25, 0.0]]), start=1):
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        g = torch.tensor(grad).double()
        if method == "adam":
            g = g + decay * p
        else:
            p = p * (1 - rate * decay)
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
        p = p - rate * (m / (1 - b1**step)) / ((s / (1 - b2**step)).sqrt() + eps)
        torch.testing.assert_close(parameter.detach().double(), p, rtol=1e-5, atol=1e-6)
