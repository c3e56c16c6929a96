"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour pictures of 32x32.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), https://www.cs.toronto.edu/~kriz/cifar.html. The binary
version is preferred: plain records, no pickle. An existing folder of the Python version is read as well, by an unpickler that admits only
what arrays and byte strings are made of.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cnntrain.data.archive import content, unpack
from cnntrain.data.dataset import Data, Source
from cnntrain.data.download import Remote, obtain
from cnntrain.data.labels import check_labels
from cnntrain.data.resize import sized
from cnntrain.data.split import Split
from cnntrain.data.storage import cache_folder, locked, path_of
from cnntrain.errors import DataError
from cnntrain.units import Count, Decay, Fraction, Positive

PIXELS = 3 * 32 * 32
AGAIN = "remove it, so that it is fetched anew"


def read_bin(path: Path, *, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read records of ``label_bytes`` labels (the last is the fine one) and 3,072 pixels: uint8 (N, 3072), int64 (N,)."""
    found = np.frombuffer(content(path), dtype=np.uint8)
    if not len(found) or len(found) % (label_bytes + PIXELS):
        raise DataError(f"{path} has {len(found)} bytes, no whole number of records", where="data.root", fix=AGAIN)
    records = found.reshape(-1, label_bytes + PIXELS)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)


class _Array:
    """Stands in for numpy's array and its dtype: keeps what a pickle says of them, so that no code but this sees it."""

    state: object = None

    def __init__(self, *args: object) -> None:
        self.args = args

    def __setstate__(self, state: object) -> None:
        self.state = state

    def pixels(self) -> np.ndarray:
        """The array of bytes that was meant: uint8 (N, 3072). Raises ValueError if it is another one."""
        _, shape, dtype, by_column, found = self.state  # type: ignore[misc]
        if not isinstance(dtype, _Array) or dtype.args[0] != "u1" or by_column or not isinstance(found, bytes):
            raise ValueError("its pictures are no bytes")
        return np.frombuffer(found, dtype=np.uint8).reshape(shape)


class _ArrayUnpickler(pickle.Unpickler):
    """Admits the names that a pickled array of bytes needs, by whichever path numpy has spelt them; nothing is looked up or imported."""

    ADMITTED = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Array,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
    }

    def find_class(self, module: str, name: str) -> object:
        """Give the stand-in for one of the admitted names; raises UnpicklingError for any other."""
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes a byte string
            return _encode_latin1
        if (module, name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array of pictures needs")
        return self.ADMITTED[module, name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


def read_batch(path: Path, *, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of the Python version: uint8 (N, 3072), int64 (N,)."""
    found = content(path)
    try:
        batch = _ArrayUnpickler(io.BytesIO(found), encoding="latin1").load()
        pixels, labels = batch["data"].pixels(), batch[label_key]
        if not isinstance(labels, list) or not all(isinstance(label, int | float) for label in labels):
            raise ValueError("its labels are no list of numbers")  # lists within lists can stand for 10^9 numbers
        labels = np.array(labels)
    except Exception as error:  # a foreign pickle can fail in any way
        raise DataError(f"{path} is no batch of CIFAR: {error!s:.200}", where="data.root", fix=AGAIN) from error
    if pixels.shape != (len(labels), PIXELS):
        raise DataError(f"{path} holds no pictures of CIFAR", where="data.root", fix=AGAIN)
    return pixels, labels


@dataclass(frozen=True)
class Form:
    """One published form of a set: its folder, its files, its archive, and how a file is read."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    archive: Remote
    read: Callable[..., tuple[np.ndarray, np.ndarray]]
    options: tuple[tuple[str, object], ...]


_HOME = "https://www.cs.toronto.edu/~kriz/"
_MIRROR = "https://dataset.bj.bcebos.com/cifar/"


def _archive(file: str, size: int, md5: str, *places: str) -> Remote:
    return Remote(file, size, md5, tuple(place + file for place in places))


_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
CIFAR10 = (
    Form(
        "cifar-10-batches-bin",
        tuple(f"{name}.bin" for name in _BATCHES),
        ("test_batch.bin",),
        _archive("cifar-10-binary.tar.gz", 170052171, "c32a1d4ab5d03f1284b67883e8d87530", _HOME),
        read_bin,
        (("label_bytes", 1),),
    ),
    Form(
        "cifar-10-batches-py",
        _BATCHES,
        ("test_batch",),
        _archive("cifar-10-python.tar.gz", 170498071, "c58f30108f718f92721af3b95e74349a", _HOME, _MIRROR),
        read_batch,
        (("label_key", "labels"),),
    ),
)
CIFAR100 = (
    Form(
        "cifar-100-binary",
        ("train.bin",),
        ("test.bin",),
        _archive("cifar-100-binary.tar.gz", 168513733, "03b5dce01913d631647c71ecec9e9cb8", _HOME),
        read_bin,
        (("label_bytes", 2),),
    ),
    Form(
        "cifar-100-python",
        ("train",),
        ("test",),
        _archive("cifar-100-python.tar.gz", 169001437, "eb9058c3a382ffc7106e4002c42a8d85", _HOME, _MIRROR),
        read_batch,
        (("label_key", "fine_labels"),),
    ),
)
CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR100_CLASSES = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl
hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()


def cifar10(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Give ten classes, 5,000 training pictures each."""
    source = describe("cifar10", CIFAR10, CIFAR10_CLASSES, [5000] * 10, root)
    return Data(sized(source, image_size), val=val, mean=mean, std=std, seed=seed)


def cifar100(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Give a hundred fine classes, 500 training pictures each."""
    source = describe("cifar100", CIFAR100, CIFAR100_CLASSES, [500] * 100, root)
    return Data(sized(source, image_size), val=val, mean=mean, std=std, seed=seed)


def describe(name: str, forms: tuple[Form, ...], classes: list[str], counts: list[int], root: str | None) -> Source:
    """Describe a set in any of its forms, in ``root`` (or a folder of the published name below it), or in the user's cache."""
    home = path_of(root) if root else cache_folder("data", name)

    def read(part: str) -> Split:
        form, folder = locate(forms, home)
        batches = []
        for path in (folder / file for file in getattr(form, part)):
            pixels, numbers = form.read(path, **dict(form.options))
            batches.append((pixels, check_labels(numbers, len(classes), where=f"data.root {path}", fix=AGAIN)))
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return Split(torch.from_numpy(images.reshape(-1, 3, 32, 32)), torch.from_numpy(labels))

    return Source(name, list(classes), 3, 32, read, counts=counts)


def locate(forms: tuple[Form, ...], home: Path) -> tuple[Form, Path]:
    """Find the form that is there and its folder; else the first archive that is there or can be fetched, unpacked."""
    found = _present(forms, home)
    if found:
        return found
    archive = obtain([form.archive for form in forms], home)
    form = next(form for form in forms if form.archive.file == archive.name)
    with locked(home / f".{form.folder}.lock", key="data.root"):
        if not _present((form,), home):
            unpack(archive, form.train + form.test, home / form.folder)
    return form, home / form.folder


def _present(forms: tuple[Form, ...], home: Path) -> tuple[Form, Path] | None:
    places = ((form, folder) for form in forms for folder in (home / form.folder, home))
    return next((place for place in places if all((place[1] / file).is_file() for file in place[0].train + place[0].test)), None)
