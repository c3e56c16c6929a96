"""The works and their pictures: real ones where they are, made-up ones of the same size and number where not."""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from work import Work

from cnntrain.data.dataset import Data
from cnntrain.data.folder import folder
from cnntrain.data.mnist import FASHION_MNIST, fashion_mnist
from cnntrain.data.synthetic import synthetic

# what --works takes: net, from a folder of JPEGs, augmented
WORKS = {
    "lenet5": ("lenet5", False, True),
    "lenet5-plain": ("lenet5", False, False),
    "resnet20": ("resnet20", False, True),
    "resnet20-jpeg": ("resnet20", True, True),
}


def prepare(keys: list[str], scratch: Path, *, fashion: Path | None, cifar: Path | None) -> tuple[dict[str, Work], list[str]]:
    """The works of ``keys``, their pictures below ``scratch``, and remarks for the table."""
    nets = {WORKS[key][0] for key in keys}
    sets: dict[str, tuple[str, Data]] = {}  # by net
    notes, root = [], scratch / "jpegs"
    if "lenet5" in nets:
        sets["lenet5"] = _grey(fashion)
    if "resnet20" in nets:
        root = (cifar / "train").resolve() if cifar else _made_up_jpegs(root)
        start = time.perf_counter()
        data = folder(root=str(root), image_size=32, val=0.0, cache=str(scratch / "cache"), seed=0)
        note = f"{len(data.train):,} in {time.perf_counter() - start:.1f} s; not part of images/s"
        notes.append(f"cnntrain decodes the JPEGs once, before its first run: {note}")
        sets["resnet20"] = ("CIFAR-10" if cifar else "made-up 32×32×3", data)
    for net, (_, data) in sets.items():
        _store(data, scratch / net)
    works = {}
    for key in keys:
        net, jpeg, augment = WORKS[key]
        name, data = sets[net]
        net_name = {"lenet5": "LeNet-5", "resnet20": "ResNet-20"}[net]
        title = f"{net_name}, {name}{' as JPEGs' if jpeg else ''}, {'crop + flip' if augment else 'no augmentation'}"
        home = root if jpeg else scratch / net
        works[key] = Work(title, net, str(home), jpeg, augment, data.mean, data.std, str(scratch / "cache"))
    return works, notes


def _grey(root: Path | None) -> tuple[str, Data]:
    if root or Path(FASHION_MNIST.installed).exists():
        return "Fashion-MNIST", fashion_mnist(root=str(root) if root else None, val=0.0, seed=0)
    return "made-up 28×28×1", synthetic(image_size=28, channels=1, samples=60_000, val=0.0, seed=0)


def _made_up_jpegs(root: Path) -> Path:
    print("writing 50,000 made-up JPEGs", file=sys.stderr)
    split = synthetic(image_size=32, channels=3, samples=50_000, val=0.0, seed=0).train
    for label in range(10):
        (root / f"class{label}").mkdir(parents=True)
    pixels = split.images.permute(0, 2, 3, 1).contiguous().numpy()
    for row, (picture, label) in enumerate(zip(pixels, split.labels.tolist(), strict=True)):
        Image.fromarray(picture).save(root / f"class{label}" / f"{row:05d}.jpg", quality=90)
    return root


def _store(data: Data, home: Path) -> None:
    home.mkdir()
    np.save(home / "images.npy", data.train.images.numpy())
    np.save(home / "labels.npy", data.train.labels.numpy())
