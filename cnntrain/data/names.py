"""Very many file names in one buffer.

As Python strings they would take some 90 bytes each, and as much again in every forked worker: to read a string is to write to its
reference count, which copies the page that it lies on.
"""

import copy
import hashlib
import os
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt


class Names:
    """File names, read-only. ``joined`` holds each as the file system spells it, with a NUL behind; ``names[i]`` makes a string of it."""

    def __init__(self, joined: bytes) -> None:
        self.joined = joined
        self._ends = np.flatnonzero(np.frombuffer(joined, dtype=np.uint8) == 0)
        self._rows = range(len(self._ends))

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Hold strings."""
        return cls(b"".join(os.fsencode(name) + b"\0" for name in names))

    def subset(self, index: npt.ArrayLike) -> "Names":
        """The names at ``index`` (N,), from the same buffer."""
        part = copy.copy(self)
        part._rows = np.asarray(self._rows)[np.asarray(index)]
        return part

    def digest(self) -> bytes:
        """Sixteen bytes that are others for other names, and for the same in another order."""
        digest = hashlib.blake2b(self.joined, digest_size=16)
        digest.update(np.asarray(self._rows, dtype=np.int64).tobytes())
        return digest.digest()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> str:
        row = self._rows[place]
        start = self._ends[row - 1] + 1 if row else 0
        return os.fsdecode(self.joined[start : self._ends[row]])

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))
