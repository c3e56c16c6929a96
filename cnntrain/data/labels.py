"""Labels as a network can be trained on them: whole numbers from 0 to below the number of classes, one a picture."""

from typing import Any

import numpy as np

from cnntrain.errors import DataError


def check_labels(labels: Any, num_classes: int, *, first: int = 0, where: str, fix: str) -> np.ndarray:
    """The labels as int64 (N,), if they are ``num_classes`` numbers from ``first``. ``where`` is the file or part that has them.

    Raises:
        DataError: they are not; it names the first wrong row and the valid range.
    """
    found = np.asarray(labels)
    valid = f"the whole numbers from {first} to {first + num_classes - 1}"
    if found.ndim != 1:
        hint = ", one-hot?" if found.ndim == 2 and found.shape[1] == num_classes else ""
        raise DataError(f"labels are of shape {found.shape}{hint}, not (N,): one for each picture, {valid}", where=where, fix=fix)
    if found.dtype.kind not in "iu":
        strange = [row for row in range(len(found)) if found.dtype.kind != "f" or found[row] != found[row] // 1] or [0]
        what = f"label {found[strange[0]]} of row {strange[0]} is of type {found.dtype}, where labels are {valid}"
        raise DataError(what, where=where, fix=fix)
    wrong = np.flatnonzero((found < first) | (found >= first + num_classes))
    if len(wrong):
        count = f", the first of {len(wrong)}," if len(wrong) > 1 else ""
        hint = "; do they count from 1?" if first == 0 and found.min() == 1 and found.max() == num_classes else ""
        raise DataError(f"label {found[wrong[0]]} of row {wrong[0]}{count} is none of {valid}{hint}", where=where, fix=fix)
    return found.astype(np.int64, copy=False)
