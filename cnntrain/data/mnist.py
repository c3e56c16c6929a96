"""MNIST and the two sets made in its form: 60,000 + 10,000 grey pictures of 28x28, ten classes, in idx files.

Sources: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition (1998); Xiao, Rasul, Vollgraf,
Fashion-MNIST (arXiv 1708.07747); Clanuwat et al., Deep Learning for Classical Japanese Literature (arXiv 1812.01718), Kuzushiji-MNIST.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cnntrain.data.dataset import Data, Source
from cnntrain.data.download import Remote, md5_of, obtain
from cnntrain.data.labels import check_labels
from cnntrain.data.resize import sized
from cnntrain.data.split import Split
from cnntrain.data.storage import cache_folder, path_of
from cnntrain.errors import DataError
from cnntrain.units import Count, Decay, Fraction, Positive

AGAIN = "remove it, so that it is fetched anew"
LIMIT = 1 << 26  # bytes: the largest unpacked file has 47 million
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Published:
    """One of the three sets. ``files`` are (size, md5) in the order of FILES; ``counts`` the training samples of each class."""

    name: str
    folder: str  # torchvision's name for it
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    mirrors: tuple[str, ...]
    files: tuple[tuple[int, str], ...]
    installed: str = ""  # where a system's package puts it

    def remotes(self) -> list[Remote]:
        """The four files, each with all its sources."""
        names = [f"{name}.gz" for pair in FILES.values() for name in pair]
        return [Remote(n, size, md5, tuple(m + n for m in self.mirrors)) for n, (size, md5) in zip(names, self.files, strict=True)]


MNIST = Published(
    "mnist",
    "MNIST",
    tuple(str(k) for k in range(10)),
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    (
        (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
        (1648877, "9fb629c4189551a2d022fa330f9573f3"),
        (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
)
FASHION_MNIST = Published(
    "fashion_mnist",
    "FashionMNIST",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    (6000,) * 10,
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://dataset.bj.bcebos.com/fashion_mnist/",
    ),
    (
        (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (29515, "25c81989df183df01b3e8a0aad5dffbe"),
        (4422102, "bef4ecab320f06d8554ea6380940ec79"),
        (5148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    installed="/usr/share/datasets/fashion-mnist",  # Debian's dataset-fashion-mnist
)
KMNIST = Published(
    "kmnist",
    "KMNIST",
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    (6000,) * 10,
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", "https://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
    (
        (18165135, "bdb82020997e1d708af4cf47b453dcf7"),
        (29497, "e144d726b3acfaa3e44228e80efcd344"),
        (3041136, "5c965bf0a639b31b8f53240b1b52f4d7"),
        (5120, "7320c461ea6c1c855c0b718fb2a4b134"),
    ),
)


def mnist(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Handwritten digits."""
    return Data(sized(describe(MNIST, root), image_size), val=val, mean=mean, std=std, seed=seed)


def fashion_mnist(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Articles of clothing; found in Debian's package dataset-fashion-mnist where that is installed."""
    return Data(sized(describe(FASHION_MNIST, root), image_size), val=val, mean=mean, std=std, seed=seed)


def kmnist(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Ten cursive Japanese characters."""
    return Data(sized(describe(KMNIST, root), image_size), val=val, mean=mean, std=std, seed=seed)


def describe(published: Published, root: str | None) -> Source:
    """One of the three sets, in ``root`` (also in torchvision's folders below it), where a package put it, or in the user's cache."""

    warnings: list[str] = []

    def read(part: str) -> Split:
        paths = locate(published, root, part)
        warnings.extend(found for path in paths if (found := differs(published, path)))
        images, labels = (read_idx(path) for path in paths)
        if images.shape[1:] != (28, 28) or labels.shape != (len(images),):
            what = f"{published.name}'s {part} files hold pictures of shape {images.shape} and labels of shape {labels.shape}"
            raise DataError(
                what, where=f"data.root {paths[0].parent}", fix=f"remove {paths[0].name} and {paths[1].name}; they are fetched anew"
            )
        labels = check_labels(labels, len(published.classes), where=f"data.root {paths[1]}", fix=AGAIN)
        return Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels))

    return Source(published.name, list(published.classes), 1, 28, read, counts=list(published.counts), warnings=warnings)


def locate(published: Published, root: str | None, part: str) -> list[Path]:
    """The paths of a part's two files, fetched with those of the other part if they are nowhere (so that a run cannot fail at its end)."""
    home = path_of(root) if root else cache_folder("data", published.name)
    folders = [home, home / "raw", home / published.folder / "raw"]
    if not root and published.installed:
        folders.append(Path(published.installed))
    for folder in folders:
        found = [_existing(folder, name) for pair in FILES.values() for name in pair]
        if all(found):
            return [path for path in (_existing(folder, name) for name in FILES[part]) if path]
    for remote in published.remotes():
        obtain([remote], home)
    return [home / f"{name}.gz" for name in FILES[part]]


def _existing(folder: Path, name: str) -> Path | None:
    # Some copies of MNIST spell train-images.idx3-ubyte.
    candidates = (folder / spelling for stem in (name, name.replace("-idx", ".idx")) for spelling in (f"{stem}.gz", stem))
    return next((path for path in candidates if path.is_file()), None)


def differs(published: Published, path: Path) -> str:
    """A warning if a packed file is not the published one, byte by byte: its own sum shows damage, but not that it is of another set.

    None of what a package has installed, which packs anew, or of an unpacked file, of which no sum is published.
    """
    expected = {remote.file: remote.md5 for remote in published.remotes()}.get(path.name.replace(".idx", "-idx"))
    if expected is None or str(path.parent) == published.installed:
        return ""
    found = md5_of(path)
    return "" if found == expected else f"{path} has md5 {found}, the published file {expected}: it was packed anew, or is another one"


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, packed or not: uint8 of the dimensions that its header gives.

    Raises:
        DataError: the file is no idx file, or is cut.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", where="data.root", fix=AGAIN) from error
    if len(content) > LIMIT:
        raise DataError(f"{path} has more than {LIMIT:,} bytes, which no published file has", where="data.root", fix=AGAIN)
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, then each as a big-endian 32-bit number.
    dimensions = content[3] if len(content) > 4 and content[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(content[4 * k : 4 * k + 4], "big") for k in range(1, dimensions + 1)]
    start = 4 + 4 * dimensions
    if not dimensions or len(content) - start != int(np.prod(shape)):
        raise DataError(f"{path} is no whole idx file", where="data.root", fix=AGAIN)
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()  # its own memory, which may be written to
