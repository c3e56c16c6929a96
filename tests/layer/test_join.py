"""Joins of branches."""

import pytest
import torch

from cnntrain.layer.join import Join


@pytest.mark.parametrize(
    ("kind", "expected"), [("sum", [3.0, 1.0]), ("mean", [1.0, 1 / 3]), ("maximum", [4.0, 5.0]), ("concatenation", [1, -2, -2, -2, 4, 5])]
)
def test_values(kind, expected):
    branches = [torch.tensor(values).double()[None, :, None, None] for values in ([1, -2], [-2, -2], [4, 5])]
    kept = [branch.clone() for branch in branches]
    out = Join(kind)(branches)
    torch.testing.assert_close(out.flatten(), torch.tensor(expected).double())
    assert all(torch.equal(branch, copy) for branch, copy in zip(branches, kept, strict=True))
    assert torch.equal(Join(kind)(branches[:1]), branches[0])


def test_a_maximum_sends_the_error_to_the_largest():
    branches = [torch.tensor([[1.0, 5.0]], requires_grad=True), torch.tensor([[2.0, 3.0]], requires_grad=True)]
    Join("maximum")(branches).sum().backward()
    assert [branch.grad.tolist() for branch in branches] == [[[0.0, 1.0]], [[1.0, 0.0]]]
