"""SGD by its formula."""

import pytest
import torch


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_equals_the_formula(momentum, nesterov, build):
    start, rate, decay = torch.tensor([[1.0, -2.0]]), 0.1, 0.01
    parameter = torch.nn.Parameter(start.clone())
    optimizer = build("sgd", [parameter], lr=rate, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    assert optimizer.param_groups[0]["fused"]
    p, v = start.double(), torch.zeros(1, 2, dtype=torch.float64)
    for grad in ([[0.5, 1.0]], [[-1.0, 2.0]], [[0.25, 0.0]]):
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        g = torch.tensor(grad).double() + decay * p
        v = momentum * v + g
        p = p - rate * (g + momentum * v if nesterov else v)
        torch.testing.assert_close(parameter.detach().double(), p, rtol=1e-6, atol=1e-7)
