"""Pictures that a data set has more than once: whoever is judged by what it was trained on is judged too well.

Two pictures are the same if their decoded pixels are, whatever their files are called and however they are packed.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from cnntrain.data.names import Names
from cnntrain.data.progress import progress


@dataclass(frozen=True)
class Decoded:
    """A part's pictures: uint8 (M, C, H, W), of which ``rows`` (N,) could be read, with the names and labels of all M."""

    pixels: np.ndarray
    rows: np.ndarray
    names: Names
    labels: np.ndarray


def find_copies(train: Decoded, other: Decoded | None = None) -> list[int | str]:
    """Which pictures of ``other`` are in train too; without it, which of train come again.

    Returns how many there are, how many of them have another label, and the names of the first: in train, and as the copy.
    """
    seen = _fingerprints(train)
    further, where = (seen, train) if other is None else (_fingerprints(other), other)
    values, first = np.unique(seen, return_index=True)
    place = np.searchsorted(values, further).clip(max=len(values) - 1)
    again = values[place] == further
    if other is None:
        again &= first[place] != np.arange(len(seen))
    if not again.any():
        return [0, 0, "", ""]
    originals, copies = train.rows[first[place[again]]], where.rows[again]
    contrary = int((train.labels[originals] != where.labels[copies]).sum())
    return [len(copies), contrary, train.names[originals[0]], where.names[copies[0]]]


def _fingerprints(part: Decoded) -> np.ndarray:
    """A 64-bit hash of each picture: uint64 (N,)."""
    found = np.empty(len(part.rows), dtype=np.uint64)
    with progress("looking for copies", len(found)) as advance:
        for place, row in enumerate(part.rows):
            found[place] = int.from_bytes(hashlib.blake2b(part.pixels[row], digest_size=8).digest(), "little")
            advance(1)
    return found
