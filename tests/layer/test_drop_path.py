"""Stochastic depth, drop-path (local and global) and freeze-path."""

import pytest
import torch

from cnntrain.layer.drop_path import DropPath, PathJoin, global_columns, linear_rates


def test_a_branch_is_dropped_by_the_sample_and_keeps_its_expectation():
    torch.manual_seed(0)
    x = torch.ones(4000, 3, 2, 2)
    out = DropPath(0.25)(x)
    samples = out.flatten(1)
    assert torch.equal(samples, samples[:, :1].expand_as(samples)), "a sample is dropped whole"
    assert set(samples[:, 0].tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert out.mean().item() == pytest.approx(1, abs=0.03)  # 0.577 / sqrt(4000) = 0.009
    assert torch.equal(x, torch.ones_like(x))


def test_evaluation_and_rate_zero_are_the_identity_and_draw_nothing():
    x, state = torch.randn(3, 2), torch.get_rng_state()
    assert DropPath(0.5).eval()(x) is x and DropPath(0.0).train()(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_dropped_samples_learn_nothing():
    torch.manual_seed(0)
    x = torch.randn(50, 4, requires_grad=True)
    out = DropPath(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, (out != 0).float() * 2) and 0 < (x.grad == 0).sum() < x.numel()


def test_rates_rise_linearly_to_the_last_blocks():
    assert linear_rates(0.5, num_blocks=4) == [0.125, 0.25, 0.375, 0.5]


def chosen(*columns, of):
    """The rows of these choices, one a sample; -1 is none."""
    return [torch.tensor([float(column == place) for column in columns]) for place in range(of)]


def test_half_the_samples_are_sampled_globally_and_no_column_is_preferred():
    torch.manual_seed(0)
    rows = torch.stack(global_columns(30_000, columns=3, share=0.5, device=torch.device("cpu")))
    assert set(rows.sum(0).tolist()) == {0.0, 1.0}
    torch.testing.assert_close(rows.mean(1), torch.full((3,), 1 / 6), atol=0.01, rtol=0)
    assert not any(row.any() for row in global_columns(50, columns=3, share=0.0, device=torch.device("cpu")))


def test_local_drop_path_keeps_one_at_least():
    torch.manual_seed(0)
    kept = torch.stack(PathJoin(rate=0.6).kept(3, chosen(*[-1] * 30_000, of=3)))
    assert set(kept.flatten().tolist()) == {0.0, 1.0}
    assert (kept.sum(0) >= 1).all()
    counts = torch.bincount(kept.sum(0).long(), minlength=4).double() / 30_000
    one = 3 * 0.4 * 0.6**2 + 0.6**3  # one stays by itself, or is kept where all would go
    torch.testing.assert_close(counts, torch.tensor([0, one, 3 * 0.4**2 * 0.6, 0.4**3]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(kept.double().mean(1), torch.full((3,), 0.4 + 0.6**3 / 3).double(), atol=0.01, rtol=0)


def test_global_drop_path_keeps_the_column_where_it_ends():
    join, only = PathJoin(rate=0.5), chosen(0, 1, 2, 3, of=4)
    assert torch.equal(torch.stack(join.kept(4, only)), torch.eye(4))
    # only columns 2 and 3 end here: for the samples of 0 and 1 it does not matter, and both stay
    assert torch.stack(join.kept(2, only)).T.tolist() == [[1, 1], [1, 1], [1, 0], [0, 1]]


def test_the_join_is_the_mean_of_what_stays():
    branches = [torch.full((4, 2, 1, 1), value) for value in (1.0, 2.0, 6.0)]
    assert PathJoin(rate=0.9)(branches).flatten().tolist() == [3.0] * 8
    out = PathJoin(rate=0.0)(branches, chosen(-1, 0, 1, 2, of=3))
    assert out[:, 0].flatten().tolist() == [3.0, 1.0, 2.0, 6.0]


@pytest.mark.parametrize("paths", ["drop", "freeze"])
def test_what_is_dropped_or_frozen_gets_no_gradient_and_what_is_frozen_counts(paths):
    branches = [torch.full((3, 1, 1, 1), value, requires_grad=True) for value in (1.0, 3.0)]
    out = PathJoin(rate=0.0, paths=paths)(branches, chosen(0, 1, -1, of=2))
    assert out.flatten().tolist() == ([1.0, 3.0, 2.0] if paths == "drop" else [2.0, 2.0, 2.0])
    out.sum().backward()
    share = 1.0 if paths == "drop" else 0.5
    assert branches[0].grad.flatten().tolist() == [share, 0.0, 0.5]
    assert branches[1].grad.flatten().tolist() == [0.0, share, 0.5]
