"""Sets of one published size in another: the same pixels as picture files get, nothing else changed, and no more than fits."""

import numpy as np
import pytest
import torch
from data.pictures import save

from cnntrain.data import resize
from cnntrain.data.cifar import cifar10
from cnntrain.data.dataset import Data, Source
from cnntrain.data.decode import Rules, decode, pillow_rules
from cnntrain.data.resize import resized, sized
from cnntrain.data.split import Split
from cnntrain.errors import ConfigError


def source(channels: int = 3, **changes) -> Source:
    images = torch.randint(0, 256, (9, channels, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(9) % 3
    facts = {"counts": [3, 3, 3], "warnings": ["as it was"]} | changes
    return Source("made", ["a", "b", "c"], channels, 8, lambda part: Split(images, labels), **facts)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 8, 20])
def test_the_pixels_are_those_that_a_picture_file_gives(tmp_path, channels, size):
    given = source(channels)
    images = given.read("train").images
    found = resized(images, size)
    assert found.shape == (9, channels, size, size) and found.dtype == torch.uint8
    for row, picture in enumerate(images.numpy()):
        path = save(tmp_path / f"{row}.png", picture[0] if channels == 1 else picture.transpose(1, 2, 0))
        with pillow_rules():
            assert np.array_equal(found[row].numpy(), decode(path, Rules(size, channels=channels))[0])


def test_only_the_size_changes():
    given = source()
    assert sized(given, None) is given and sized(given, 8) is given
    data, own = (Data(sized(given, size), val=0.0, mean=None, std=None, seed=0) for size in (12, None))
    assert (data.image_size, data.num_train, data.class_counts, data.classes) == (12, 9, [3, 3, 3], ["a", "b", "c"])
    assert data.train.images.shape[-1] == data.test.images.shape[-1] == 12 and torch.equal(data.train.labels, own.train.labels)
    assert data.warnings is given.warnings  # which grow as parts are read
    assert own.train.images.shape[-1] == 8 and data.std[0] < own.std[0]


def test_what_does_not_fit_is_refused_before_anything_is_read(monkeypatch):
    read = []
    given = source()
    given.read = lambda part: read.append(part)
    monkeypatch.setattr(resize, "available_memory", lambda: 2 * 9 * 3 * 30**2)
    with pytest.raises(ConfigError) as caught:
        sized(given, 31).read("train")
    assert caught.value.fix.startswith("data.image_size=30,") and caught.value.where == "data.image_size=31" and not read
    assert sized(source(), 30).read("train").images.shape[-1] == 30


def test_a_published_set_takes_a_size_without_being_there(tmp_path):
    data = cifar10(root=str(tmp_path / "nothing"), image_size=224, seed=0)
    assert (data.image_size, data.num_train) == (224, 45_000) and not (tmp_path / "nothing").exists()
