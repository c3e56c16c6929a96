"""Local response normalisation against the formula of its paper."""

import pytest
import torch

from cnntrain.layer.response_norm import response_norm


@pytest.mark.parametrize("channels", [1, 3, 5, 9])
def test_is_the_papers_formula_with_its_constants(channels):
    """b_i = a_i / (2 + 1e-4 · Σ_{j=i-2}^{i+2} a_j²)^0.75; the sum is cut off at the first and last map."""
    a = 100 * torch.randn(2, channels, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = response_norm()(a)
    for i in range(channels):
        squares = a[:, max(0, i - 2) : i + 3].square().sum(1)
        torch.testing.assert_close(b[:, i], a[:, i] / (2 + 1e-4 * squares) ** 0.75)


def test_passes_the_error_down_as_finite_differences_say():
    a = 100 * torch.randn(1, 6, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(response_norm(), a)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_is_torchs_layer_with_n_times_alpha(memory_format):
    a = torch.randn(2, 8, 5, 4, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    b = response_norm()(a)
    assert torch.equal(b, torch.nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(a))
    assert b.is_contiguous(memory_format=memory_format) or memory_format == torch.contiguous_format
