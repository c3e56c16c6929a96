import sys

import torch

from cnntrain.data.digits import COUNTS, digits, read_digits


def test_all_digits_are_read_without_importing_scikit_learn():
    before = "sklearn" in sys.modules
    images, labels = read_digits(8)
    assert images.shape == (1797, 1, 8, 8) and torch.bincount(labels).tolist() == COUNTS
    # The first row of the file: a zero whose top line is 0 0 5 13 9 1 0 0 of 16.
    assert images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0] and labels[0] == 0
    assert ("sklearn" in sys.modules) == before


def test_upsampling_keeps_range_and_mean():
    small, large = read_digits(8)[0].float(), read_digits(32)[0].float()
    assert large.shape[-1] == 32 and large.max() == 255 and abs(small.mean() - large.mean()) < 2


def test_the_test_part_is_a_fixed_stratified_fifth():
    one, other = digits(seed=1), digits(seed=2)
    assert len(one.test) == 359 and torch.equal(one.test.rows, other.test.rows)
    assert not torch.equal(one.val.rows, other.val.rows)
    rows = [set(split.rows.tolist()) for split in (one.train, one.val, one.test)]
    assert sum(map(len, rows)) == 1797 == len(set.union(*rows))
    assert one.num_train == len(one.train) and one.class_counts == torch.bincount(one.train.labels).tolist()
