"""The user's own pictures: a folder for each class, with or without train, val and test beside each other (SPEC D2).

Decoded once into a cache that later runs map into memory, or, where that would not fit, read by workers as training goes.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from cnntrain.data.cache import Examined, examine, remember
from cnntrain.data.copies import Decoded, find_copies
from cnntrain.data.dataset import Data, Source
from cnntrain.data.decode import Rules
from cnntrain.data.scan import Listing, Part, scan
from cnntrain.data.split import Split
from cnntrain.data.storage import available_memory, cache_folder, path_of, usable_cores
from cnntrain.data.streamed import StreamedSplit
from cnntrain.errors import DataError
from cnntrain.units import Count, Decay, Fraction, Positive, Processes, Seconds

MEMORY_SHARE = 0.5  # of what is free that decoded pictures may take, before they are streamed


def folder(
    *,
    root: str,
    image_size: Count = 64,
    resize: Literal["squash", "crop"] = "squash",
    channels: Literal[1, 3] = 3,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    max_pixels: Count = 100_000_000,
    residency: Literal["auto", "resident", "streamed"] = "auto",
    workers: Processes | Literal["auto"] = "auto",
    cache: str | None = None,
    timeout: Seconds = 60.0,
    seed: int,
) -> Data:
    """Pictures below ``root``. The call looks at names only; pictures are decoded when a part is first used.

    Raises:
        DataError: there is nothing to learn from in ``root`` (see :func:`cnntrain.data.scan.scan`).
    """
    listing = scan(path_of(root))
    rules = Rules(image_size, resize, channels, max_pixels)
    pixels = sum(len(part.files) for part in listing.parts.values()) * channels * image_size**2
    resident = pixels <= MEMORY_SHARE * available_memory() if residency == "auto" else residency == "resident"
    if "test" not in listing.parts:
        listing.warnings.append(f"{root} has no test part: what is reported is validation accuracy, by which the best epoch was chosen")
    decoded = path_of(cache) if cache else cache_folder("folders")
    read = partial(
        _read,
        listing,
        rules=rules,
        resident=resident,
        skip=on_error == "skip",
        workers=usable_cores() if workers == "auto" else workers,
        cache=decoded,
        timeout=timeout,
    )
    # With unreadable pictures left out, only reading tells how many there are.
    labels = torch.from_numpy(listing.parts["train"].labels)
    counts = torch.bincount(labels, minlength=len(listing.classes)).tolist() if on_error == "raise" else None
    parts = tuple(listing.parts)
    known = partial(remember, part=listing.parts["train"], rules=rules, folder=decoded)
    source = Source("folder", listing.classes, channels, image_size, read, parts, counts, listing.warnings, known)
    return Data(source, val=val, mean=mean, std=std, seed=seed)


def _read(
    listing: Listing, name: str, *, rules: Rules, resident: bool, skip: bool, workers: int, cache: Path, timeout: float
) -> Split | StreamedSplit:
    """One part, with unreadable pictures left out or refused. A streamed part is only looked through if it must be (``skip``)."""
    part = listing.parts[name]
    labels = torch.from_numpy(part.labels)
    look = partial(examine, rules=rules, folder=cache, keep=resident, workers=workers, timeout=timeout)
    found = look(part) if resident or skip else Examined(None, {}, 0)
    if found.several:
        listing.warnings.append(f"{name}: {found.several} file(s) have several frames; the first is used")
    if found.unreadable:
        _judge(found.unreadable, part, listing, skip)
    if resident:
        train = listing.parts["train"]
        known = partial(remember, part=train, rules=rules, folder=cache)
        _tell_copies(listing, part, known(f"copies of train in {part.digest}", lambda: _copies(train, part, look)))
        split: Split | StreamedSplit = Split(torch.from_numpy(found.pixels), labels, names=part.files)
    else:
        split = StreamedSplit(part.root, part.files, labels, part.stamps, rules=rules, workers=workers, timeout=timeout)
    return split.subset(torch.from_numpy(_readable(part, found.unreadable))) if found.unreadable else split


def _copies(train: Part, part: Part, look: Callable[[Part], Examined]) -> list[int | str]:
    """The pictures of ``part`` that are in train as well; of train itself, those that come again."""
    seen = _decoded(train, look(train))
    return find_copies(seen, None if part is train else _decoded(part, look(part)))


def _decoded(part: Part, found: Examined) -> Decoded:
    assert found.pixels is not None
    return Decoded(found.pixels, _readable(part, found.unreadable), part.files, part.labels)


def _tell_copies(listing: Listing, part: Part, copies: list) -> None:
    number, contrary, first, again = copies
    if not number:
        return
    text = f"{number} picture(s) are there more than once, such as {first} and {again}"
    if part.name != "train":
        text = f"{number} picture(s) are in train too, such as {part.name}/{again}, which is train/{first}"
    listing.warnings.append(f"{part.name}: {text}{f'; {contrary} of them under another class' if contrary else ''}")


def _readable(part: Part, unreadable: dict[int, str]) -> np.ndarray:
    """The rows of ``part`` that are left: int64 (N,)."""
    return np.delete(np.arange(len(part.files)), list(unreadable))


def _judge(unreadable: dict[int, str], part: Part, listing: Listing, skip: bool) -> None:
    """Say which pictures are left out; refuse them, or a class of which nothing is left."""
    named = _by_reason({part.files[row]: reason for row, reason in list(unreadable.items())[:10]})
    more = f" and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
    what = f"{len(unreadable)} of {len(part.files)} pictures of {part.name} cannot be read: {named}{more}"
    if not skip:
        # The test part is first read when training is over: with these files mended or removed, resume goes straight on to it.
        fix = "remove them and resume the run" if part.name == "test" else "data.on_error=skip, which leaves them out"
        raise DataError(what, where=f"data.root {part.root}", fix=fix)
    gone = np.setdiff1d(part.labels, part.labels[_readable(part, unreadable)])
    if len(gone) and part.name == "train":
        what = f"no picture of class {listing.classes[gone[0]]} can be read: {named}{more}"
        raise DataError(what, where=f"data.root {part.root}", fix=f"mend them, or remove {part.root / listing.classes[gone[0]]}")
    listing.warnings.append(f"{what}; left out")


def _by_reason(unreadable: dict[str, str]) -> str:
    """Names with the same reason together, which is said once."""
    reasons = dict.fromkeys(unreadable.values())
    return "; ".join(f"{', '.join(name for name, why in unreadable.items() if why == reason)} ({reason})" for reason in reasons)
