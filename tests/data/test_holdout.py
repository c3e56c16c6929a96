import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnntrain.data.holdout import held_out_counts, hold_out


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_every_class_of_two_keeps_one_on_each_side(counts, fraction):
    for count, held in zip(counts, held_out_counts(counts, fraction), strict=True):
        assert 1 <= held <= count - 1 if count >= 2 else held == 0


@given(st.lists(st.integers(20, 60), min_size=1, max_size=12), st.floats(0.1, 0.9))
def test_the_share_is_met_to_the_sample_where_classes_are_large(counts, fraction):
    held = held_out_counts(counts, fraction)
    assert sum(held) == round(fraction * sum(counts))
    assert all(abs(number - fraction * count) < 1 for number, count in zip(held, counts, strict=True))


def test_nothing_is_held_out_at_zero():
    assert held_out_counts([5, 7], 0) == [0, 0]
    train, val = hold_out(torch.tensor([0, 1, 0, 1]), 0, num_classes=2, seed=0)
    assert train.tolist() == [0, 1, 2, 3] and len(val) == 0


def test_train_and_val_are_all_samples_and_share_none():
    labels = torch.arange(101) % 7
    train, val = hold_out(labels, 0.3, num_classes=7, seed=3)
    assert sorted(train.tolist() + val.tolist()) == list(range(101))
    assert torch.bincount(labels[val], minlength=7).tolist() == held_out_counts(torch.bincount(labels).tolist(), 0.3)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_choice_is_shuffled_and_a_function_of_the_seed(seed):
    labels = torch.zeros(100, dtype=torch.int64)
    _, val = hold_out(labels, 0.3, num_classes=1, seed=seed)
    _, again = hold_out(labels, 0.3, num_classes=1, seed=seed)
    _, other = hold_out(labels, 0.3, num_classes=1, seed=seed + 10)
    assert torch.equal(val, again) and not torch.equal(val, other)
    assert val.min() < 50, "not the tail"
    assert val.tolist() == sorted(val.tolist())
