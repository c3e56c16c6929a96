import numpy as np
import pytest
from scipy.io import savemat

from cnntrain.data.svhn import COUNTS, read_mat, svhn
from cnntrain.errors import DataError


def test_pictures_are_turned_and_the_digit_zero_is_class_zero(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [9], [10]], dtype=np.uint8)}, do_compression=True)
    split = read_mat(tmp_path / "train_32x32.mat")
    assert split.labels.tolist() == [0, 1, 9, 0] and split.images.is_contiguous()
    assert np.array_equal(split.images[2].numpy(), pixels[:, :, :, 2].transpose(2, 0, 1))


@pytest.mark.parametrize("bad", ["noise", "shape", "label"])
def test_a_damaged_file_is_a_data_error_that_names_it(tmp_path, bad):
    path = tmp_path / "train_32x32.mat"
    if bad == "noise":
        path.write_bytes(b"noise" * 100)
    else:
        pixels = np.zeros((32, 32, 3, 2) if bad == "label" else (2, 32, 32, 3), dtype=np.uint8)
        savemat(path, {"X": pixels, "y": np.array([[11], [1]])})
    with pytest.raises(DataError, match=str(path)):
        read_mat(path)


def test_the_set_describes_itself_without_reading(tmp_path):
    data = svhn(root=str(tmp_path), val=0.0, seed=0)
    assert data.num_train == sum(COUNTS) == 73257 and not list(tmp_path.iterdir())
