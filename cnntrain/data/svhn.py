"""Street View House Numbers, cropped digits: 73,257 + 26,032 colour pictures of 32x32, ten classes.

Source: Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning (NIPS workshop 2011). The digit 0 has label 10
in the files and is class 0 here.
"""

from pathlib import Path

import numpy as np
import torch

from cnntrain.data.dataset import Data, Source
from cnntrain.data.download import Remote, obtain, verify
from cnntrain.data.labels import check_labels
from cnntrain.data.resize import sized
from cnntrain.data.split import Split
from cnntrain.data.storage import cache_folder, path_of
from cnntrain.errors import DataError
from cnntrain.units import Count, Decay, Fraction, Positive

COUNTS = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]
MIRRORS = ("http://ufldl.stanford.edu/housenumbers/", "https://ufldl.stanford.edu/housenumbers/")
REMOTES = {
    part: Remote(f"{part}_32x32.mat", size, md5, tuple(f"{mirror}{part}_32x32.mat" for mirror in MIRRORS))
    for part, size, md5 in (
        ("train", 182040794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
        ("test", 64275384, "eb5a983be6a315427106f1b164d9cef3"),
    )
}


def svhn(
    *,
    root: str | None = None,
    image_size: Count | None = None,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """House numbers; a mirrored digit is another picture, so its default augmentation has no flip."""
    home = path_of(root) if root else cache_folder("data", "svhn")

    def read(part: str) -> Split:
        for remote in REMOTES.values():  # both parts before the first run, so that it cannot fail at its end
            if not (home / remote.file).is_file():
                obtain([remote], home)
        verify(home / REMOTES[part].file, REMOTES[part])  # also one that lay there: a tenth of the time that reading it takes
        return read_mat(home / REMOTES[part].file)

    source = Source("svhn", [str(k) for k in range(10)], 3, 32, read, counts=COUNTS)
    return Data(sized(source, image_size), val=val, mean=mean, std=std, seed=seed)


def read_mat(path: Path) -> Split:
    """A published .mat file: ``X`` uint8 (32, 32, 3, N) and ``y`` (N, 1) of 1 to 10.

    Raises:
        DataError: the file is damaged or another one.
    """
    from scipy.io import loadmat

    again = "remove it, so that it is fetched anew"
    try:
        content = loadmat(path, variable_names=["X", "y"])
        pixels, labels = content["X"], content["y"].reshape(-1)
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise DataError(f"{path} cannot be read: {error}", where="data.root", fix=again) from error
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)):
        raise DataError(f"{path} holds pictures {pixels.shape} {pixels.dtype}, not SVHN's", where="data.root", fix=again)
    labels = check_labels(labels, 10, first=1, where=f"data.root {path}", fix=again)
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))  # (N, 3, 32, 32)
    return Split(torch.from_numpy(images), torch.from_numpy(labels % 10))
