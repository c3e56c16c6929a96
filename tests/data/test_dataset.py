import pytest
import torch

from cnntrain.data.dataset import Data, Source, moments
from cnntrain.data.split import Split
from cnntrain.errors import ConfigError, DataError


def make(*, images=None, parts=("train", "test"), val=0.25, mean=None, std=None, counts=None, reads=None, seed=0) -> Data:
    if images is None:
        images = torch.randint(0, 256, (40, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def read(part):
        if reads is not None:
            reads.append(part)
        return Split(images, torch.arange(len(images)) % 2)

    return Data(Source("tiny", ["a", "b"], images.shape[1], 4, read, parts=parts, counts=counts), val=val, mean=mean, std=std, seed=seed)


def test_parts_are_read_on_first_use_and_test_only_by_itself():
    reads = []
    data = make(reads=reads, counts=[20, 20])
    assert data.num_train == 30 and data.class_counts == [15, 15] and reads == []
    assert len(data.train) == 30 and len(data.val) == 10 and data.mean and data.std
    assert reads == ["train"]
    assert len(data.test) == 40 and data.test is data.test
    assert reads == ["train", "test"]


def test_a_set_with_its_own_validation_part_keeps_all_of_train():
    data = make(parts=("train", "val"))
    assert len(data.train) == 40 and len(data.val) == 40 and data.test is None and data.num_train == 40


def test_no_validation_part_where_none_is_asked_for():
    assert make(val=0.0).val is None


def test_mean_and_std_equal_the_plain_computation_over_train_alone():
    data = make()
    pixels = next(iter(data.train.fetch([torch.arange(30)])))[0].double() / 255
    assert data.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_given_mean_and_std_are_kept_and_need_no_pictures():
    reads = []
    data = make(mean=[0.1, 0.2, 0.3], std=[1, 1, 1], reads=reads)
    assert data.mean == [0.1, 0.2, 0.3] and data.std == [1.0, 1.0, 1.0] and reads == []


def test_mean_of_the_wrong_length_is_refused():
    with pytest.raises(ConfigError, match=r"1 numbers for pictures of 3 channels \(data.mean\)"):
        make(mean=[0.5])


def test_a_constant_channel_gets_the_floor_and_a_warning():
    data = make(images=torch.full((8, 1, 4, 4), 7, dtype=torch.uint8))
    assert data.std == [1e-3] and "channel 0 is constant" in data.warnings[0]


def test_published_counts_are_held_against_the_files():
    with pytest.raises(DataError, match="20 samples of class a where 21 belong"):
        _ = make(counts=[21, 19]).train


def test_moments_are_exact_for_large_counts():
    histogram = torch.zeros(1, 256, dtype=torch.int64)
    histogram[0, 0] = histogram[0, 255] = 10**9
    assert moments(histogram) == ([0.5], [0.5])
