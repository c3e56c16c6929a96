import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from data.server import serve

from cnntrain.data.dataset import Data
from cnntrain.data.mnist import FASHION_MNIST, FILES, KMNIST, MNIST, Published, describe, fashion_mnist, kmnist, mnist, read_idx
from cnntrain.errors import DataError

DEBIAN = Path(FASHION_MNIST.installed)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def contents(number: int = 6) -> dict[str, bytes]:
    found = {}
    for seed, (images, labels) in enumerate(FILES.values()):
        draw = np.random.default_rng(seed)
        found[images] = idx(draw.integers(0, 256, (number, 28, 28), dtype=np.uint8))
        found[labels] = idx(np.arange(number, dtype=np.uint8))
    return found


def write(folder: Path, *, packed: bool, spelling: str = "-idx") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents().items():
        name = name.replace("-idx", spelling)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


def tiny(published: Published, root) -> Data:
    source = describe(published, str(root) if root else None)
    source.counts = None
    return Data(source, val=0.0, mean=None, std=None, seed=0)


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(("packed", "spelling"), [(True, "-idx"), (False, "-idx"), (False, ".idx")])
def test_files_are_found_packed_or_not_also_in_torchvisions_folder(tmp_path, place, packed, spelling):
    write(tmp_path / place, packed=packed, spelling=spelling)
    data = tiny(MNIST, tmp_path)
    pixels = np.frombuffer(contents()["train-images-idx3-ubyte"][16:], dtype=np.uint8).reshape(6, 1, 28, 28)
    assert np.array_equal(data.train.images.numpy(), pixels) and data.train.labels.tolist() == list(range(6))
    assert len(data.test) == 6 and not torch.equal(data.test.images, data.train.images)


def test_a_packages_folder_is_used_only_where_no_root_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "package", packed=True)
    there = Published("tiny", "Tiny", MNIST.classes, MNIST.counts, (), MNIST.files, installed=str(tmp_path / "package"))
    assert len(tiny(there, None).train) == 6
    with pytest.raises(DataError, match="could not be had"):
        _ = tiny(there, tmp_path / "elsewhere").train


def test_all_four_files_are_fetched_before_the_first_use(tmp_path, monkeypatch):
    with serve() as server:
        body = gzip.compress(idx(np.zeros((3, 28, 28), dtype=np.uint8)))
        monkeypatch.setattr("data.server.BODY", body)
        sizes = ((len(body), hashlib.md5(body).hexdigest()),) * 4
        there = Published("tiny", "Tiny", MNIST.classes, MNIST.counts, (f"{server.url}/good/",), sizes)
        with pytest.raises(DataError):  # the labels are pictures too
            _ = tiny(there, tmp_path).train
    assert sorted(path.name for path in tmp_path.glob("*.gz")) == sorted(f"{name}.gz" for pair in FILES.values() for name in pair)


@pytest.mark.parametrize("content", [b"", b"<html>", idx(np.zeros((2, 28, 28), dtype=np.uint8))[:-1], b"\0\0\x0d\x01\0\0\0\1\0"])
def test_what_is_no_whole_idx_file_is_a_data_error_that_names_it(tmp_path, content):
    for name, body in (("x", content), ("x.gz", gzip.compress(content)), ("y.gz", gzip.compress(content)[:-4])):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(DataError, match=str(tmp_path / name)):
            read_idx(tmp_path / name)


@pytest.mark.parametrize(("make", "published"), [(mnist, MNIST), (fashion_mnist, FASHION_MNIST), (kmnist, KMNIST)])
def test_the_sets_describe_themselves_without_reading(tmp_path, make, published):
    data = make(root=str(tmp_path), val=0.1, seed=0)
    assert sum(published.counts) == 60000 and data.num_train == 54000 and len(data.classes) == 10
    assert (data.in_channels, data.image_size) == (1, 28) and not list(tmp_path.iterdir())


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_the_package_is_the_published_one():
    data = fashion_mnist(seed=0)
    assert data.num_train == len(data.train) == 54000 and len(data.val) == 6000 and len(data.test) == 10000
    assert data.mean == pytest.approx([0.2860], abs=1e-3) and data.std == pytest.approx(
        [0.3530], abs=1e-3
    )  # the usual figures, of all 60,000
