"""The 1,797 handwritten digits that come with scikit-learn: the default, because it needs no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), the 8x8 form with values 0 to 16. It is read from
scikit-learn's own file without importing scikit-learn, which takes 1.7 s. The set has no published test part in that file: a stratified
20 % under a fixed seed is this project's, the same in every run.
"""

import gzip
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnntrain.data.dataset import Data, Source
from cnntrain.data.holdout import held_out_counts, hold_out
from cnntrain.data.split import Split
from cnntrain.errors import DataError
from cnntrain.units import Count, Decay, Fraction, Positive

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
TEST_SHARE, TEST_SEED = 0.2, 0


def digits(
    *,
    image_size: Count = 32,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """Ten classes of grey digits, brought from 8x8 to ``image_size`` by bicubic interpolation."""

    @cache
    def whole() -> tuple[Split, Tensor, Tensor]:
        images, labels = read_digits(image_size)
        return Split(images, labels), *hold_out(labels, TEST_SHARE, num_classes=10, seed=TEST_SEED)

    def read(part: str) -> Split:
        split, train, test = whole()
        return split.subset(train if part == "train" else test)

    counts = [count - out for count, out in zip(COUNTS, held_out_counts(COUNTS, TEST_SHARE), strict=True)]
    source = Source("digits", [str(k) for k in range(10)], 1, image_size, read, counts=counts)
    return Data(source, val=val, mean=mean, std=std, seed=seed)


def read_digits(image_size: int) -> tuple[Tensor, Tensor]:
    """All pictures, uint8 (1797, 1, S, S), and their labels, int64 (1797,)."""
    spec = importlib.util.find_spec("sklearn")
    home = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    path = home / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise DataError("scikit-learn's digits are not installed", where="data digits", fix="pip install scikit-learn")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float64)  # (1797, 65): 64 pixels and the label
    pixels = torch.from_numpy(table[:, :64] * (255 / 16)).reshape(-1, 1, 8, 8)
    if image_size != 8:
        # In double precision: in single, a byte could round differently on another machine.
        pixels = torch.nn.functional.interpolate(pixels, size=(image_size, image_size), mode="bicubic", align_corners=False)
    return pixels.round().clamp(0, 255).to(torch.uint8), torch.from_numpy(table[:, 64].astype(np.int64))
