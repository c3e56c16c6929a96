from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import make_folder, noise

from cnntrain.data import dataset
from cnntrain.data import folder as module
from cnntrain.data.dataset import moments, pixel_histogram
from cnntrain.data.folder import folder
from cnntrain.errors import DataError


def make(root, tmp_path, **keys):
    return folder(**{"root": str(root), "image_size": 8, "cache": str(tmp_path / "cache"), "seed": 0, **keys})


def all_of(split) -> torch.Tensor:
    return next(iter(split.fetch([torch.arange(len(split))])))[0]


def test_a_plain_folder_gives_train_and_a_held_out_part(tmp_path):
    data = make(make_folder(tmp_path / "p", {"a": 10, "b": 6}), tmp_path, val=0.25)
    assert not (tmp_path / "cache").exists(), "the call decodes nothing"
    assert (data.classes, data.in_channels, data.image_size, data.num_train, data.class_counts) == (["a", "b"], 3, 8, 12, [7, 5])
    assert len(data.train) == 12 and len(data.val) == 4 and data.test is None
    assert not set(data.train.names) & set(data.val.names)
    row = list(data.train.names).index("b/0.png") if "b/0.png" in data.train.names else None
    if row is not None:
        assert np.array_equal(all_of(data.train)[row].numpy(), noise(seed=11).transpose(2, 0, 1))
    assert data.warnings == [
        f"{tmp_path / 'p'} has no test part: what is reported is validation accuracy, by which the best epoch was chosen"
    ]


def test_parts_of_its_own_are_kept_and_test_is_left_alone(tmp_path):
    root = make_folder(tmp_path / "p", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "test/a": 1, "test/b": 3})
    data = make(root, tmp_path, val=0.5)
    assert len(data.train) == 4 and len(data.val) == 2 and data.num_train == 4 and data.mean
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert data.test.labels.tolist() == [0, 1, 1, 1] and not data.warnings


def broken(tmp_path, number: int = 1, each: int = 4):
    root = make_folder(tmp_path / "p", {"a": each, "b": 4})
    for k in range(number):
        (root / "a" / f"{k}.png").write_bytes(b"" if k % 2 else b"<html>")
    return root


@pytest.mark.parametrize("residency", ["resident", "streamed"])
def test_skip_leaves_unreadable_pictures_out_the_same_way_every_time(tmp_path, residency):
    root = broken(tmp_path)
    for _ in range(2):
        data = make(root, tmp_path, on_error="skip", val=0.0, residency=residency, workers=0)
        assert data.num_train == 7 and list(data.train.names) == ["a/1.png", "a/2.png", "a/3.png", *(f"b/{k}.png" for k in range(4))]
        assert np.array_equal(all_of(data.train)[0].numpy(), noise(seed=2).transpose(2, 0, 1))
        assert any("1 of 8 pictures of train cannot be read: a/0.png (no picture" in line and "left out" in line for line in data.warnings)


def test_raise_names_the_first_ten_and_counts_them(tmp_path):
    data = make(broken(tmp_path, 12, 14), tmp_path, workers=0)
    with pytest.raises(DataError) as caught:
        _ = data.train
    text = str(caught.value)
    assert text.startswith("12 of 18 pictures of train cannot be read: a/0.png, a/2.png, a/4.png, a/6.png, a/8.png (no picture")
    assert "a/9.png (an empty file) and 2 more" in text and "data.on_error=skip" in text and "a/10.png" not in text


def test_a_class_of_which_nothing_can_be_read_is_an_error_even_with_skip(tmp_path):
    with pytest.raises(DataError, match="no picture of class a can be read"):
        _ = make(broken(tmp_path, 4), tmp_path, on_error="skip").train


def test_residency_follows_the_memory_that_is_free(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "p", {"a": 4, "b": 4})
    needed = 8 * 3 * 8 * 8
    for memory, expected in ((2 * needed, True), (2 * needed - 1, False)):
        monkeypatch.setattr(module, "available_memory", lambda memory=memory: memory)
        assert make(root, tmp_path, workers=0).train.resident == expected
        assert make(root, tmp_path, residency="resident").train.resident


def test_grey_and_cropped_pictures(tmp_path):
    root = make_folder(tmp_path / "p", {"a": 2, "b": 2}, size=12)
    data = make(root, tmp_path, channels=1, resize="crop", image_size=5)
    assert all_of(data.train).shape[1:] == (1, 5, 5) and len(data.mean) == 1


def test_pictures_of_several_frames_are_counted(tmp_path):
    from PIL import Image

    root = make_folder(tmp_path / "p", {"a": 2, "b": 2})
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black")]
    frames[0].save(root / "a" / "moving.gif", save_all=True, append_images=frames[1:])
    data = make(root, tmp_path)
    _ = data.train
    assert "train: 1 file(s) have several frames; the first is used" in data.warnings


@pytest.mark.parametrize("residency", ["resident", "streamed"])
def test_mean_and_std_are_measured_once_for_a_training_part(tmp_path, monkeypatch, residency):
    root = make_folder(tmp_path / "p", {"a": 4, "b": 4})
    keys = {"residency": residency, "workers": 0, "val": 0.25}
    first = make(root, tmp_path, **keys)
    known = first.mean, first.std
    assert known == moments(pixel_histogram(first.train, 3))
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "pixel_histogram", None)
        again = make(root, tmp_path, **keys)
        assert (again.mean, again.std) == known and not any("cost a reading" in line for line in again.warnings)
    other = make(root, tmp_path, **keys | {"seed": 1})
    assert (other.mean, other.std) == moments(pixel_histogram(other.train, 3)) != known


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc here")
def test_the_pixels_stay_a_map_of_the_file(tmp_path):
    data = make(make_folder(tmp_path / "p", {"a": 4, "b": 4}), tmp_path)
    assert data.train.images.data_ptr() == data.val.images.data_ptr(), "train and val share them"
    store = next((tmp_path / "cache").glob("*.npy"))
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(store) in line]
    assert mapped and mapped[0].split()[1] == "rw-p", "private: copy on write"
