"""Squared error against torch's own."""

import torch
import torch.nn.functional as F

from cnntrain.loss.mse import SquaredError


def test_equals_torch():
    """Half the sum over the outputs; -1 and +1 in place of 0 and 1 for tanh."""
    outputs, targets = torch.randn(5, 4), torch.eye(4)[[0, 3, 1, 1, 2]]
    result = SquaredError(targets="zero_one")(outputs, targets)
    assert result.shape == (5,)
    torch.testing.assert_close(result, F.mse_loss(outputs, targets, reduction="none").sum(1) / 2)
    signs = torch.where(targets > 0, 1.0, -1.0)
    result = SquaredError(targets="plus_minus")(outputs, targets)
    torch.testing.assert_close(result, F.mse_loss(outputs, signs, reduction="none").sum(1) / 2)


def test_gradient_is_output_minus_target():
    """Bouvrie's y - t (SPEC L13), in double precision."""
    outputs = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.eye(4, dtype=torch.float64)[[0, 3, 1, 1, 2]]
    SquaredError()(outputs, targets).sum().backward()
    torch.testing.assert_close(outputs.grad, outputs.detach() - targets)
