"""What a run knows of its data: classes, sizes, mean and std, and the parts train, val and test, each read on first use.

Mean and std (SPEC T8) come from the training part alone, by an exact histogram of its bytes: no rounding, so the same on every machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cnntrain.data.holdout import held_out_counts, hold_out
from cnntrain.data.labels import check_labels
from cnntrain.data.progress import progress
from cnntrain.data.split import Split
from cnntrain.data.streamed import StreamedSplit
from cnntrain.errors import ConfigError, DataError

STD_FLOOR = 1e-3  # a constant channel has std 0, by which nothing can be divided


@dataclass
class Source:
    """A data set before any choice of the run: what it is, and how each of its published parts is read.

    ``read`` gives the part of a name in ``parts``. ``counts`` are the training samples of each class where that is known without reading.
    ``warnings`` may grow as parts are read. ``remember(what, compute)`` gives what ``compute`` gave for ``what`` in an earlier run, if any.
    """

    name: str
    classes: list[str]
    in_channels: int
    image_size: int
    read: Callable[[str], Split | StreamedSplit]
    parts: tuple[str, ...] = ("train", "test")
    counts: list[int] | None = None
    warnings: list[str] = field(default_factory=list)
    remember: Callable[[str, Callable[[], Any]], Any] = lambda what, compute: compute()


class Data:
    """A data set as one run sees it.

    ``val`` is the share of train that is held out where the source has no validation part of its own. ``mean`` and ``std`` are per
    channel, of pixels in [0, 1]; None computes them.
    """

    def __init__(self, source: Source, *, val: float, mean: list[float] | None, std: list[float] | None, seed: int) -> None:
        for key, value in (("mean", mean), ("std", std)):
            if value is not None and len(value) != source.in_channels:
                raise ConfigError(
                    f"{len(value)} numbers for pictures of {source.in_channels} channels",
                    where=f"data.{key}",
                    fix=f"give {source.in_channels}, or data.{key}=null, which computes them",
                )
        self._source, self._val, self._seed = source, val, seed
        self._mean, self._std = mean, std
        self.name, self.classes = source.name, source.classes
        self.in_channels, self.image_size, self.warnings = source.in_channels, source.image_size, source.warnings

    @property
    def _holds_out(self) -> bool:
        return self._val > 0 and "val" not in self._source.parts

    def _read(self, part: str) -> Split | StreamedSplit:
        """A part of the source that is what it has to be.

        Raises:
            DataError: its pictures are no bytes of the right shape, or its labels are no classes.
        """
        split = self._source.read(part)
        where = f"data {self.name}, part {part}"
        fix = "give labels torch.int64 (N,), counted from 0, one a picture"
        split.labels = torch.from_numpy(check_labels(split.labels, len(self.classes), where=where, fix=fix))
        if isinstance(split, Split):
            check_pixels(split.images, (self.in_channels, self.image_size, self.image_size), where=where)
            pictures = len(split.images if split.rows is None else split.rows)
            if pictures != len(split):
                raise DataError(f"{len(split)} labels for {pictures} pictures", where=where, fix=fix)
        return split

    @cached_property
    def _published_train(self) -> Split | StreamedSplit:
        split = self._read("train")
        found = torch.bincount(split.labels, minlength=len(self.classes)).tolist()
        if self._source.counts not in (None, found):
            wrong = next(k for k, (a, b) in enumerate(zip(found, self._source.counts, strict=False)) if a != b)
            raise DataError(
                f"the training part has {found[wrong]} samples of class {self.classes[wrong]} where {self._source.counts[wrong]} belong",
                where=f"data {self.name}",
                fix="remove the files, so that they are fetched anew, or give data.root=DIR with the published ones",
            )
        return split

    @cached_property
    def _train_and_val(self) -> tuple[Split | StreamedSplit, Split | StreamedSplit | None]:
        whole = self._published_train
        if not self._holds_out:
            return whole, None
        train, held = hold_out(whole.labels, self._val, num_classes=len(self.classes), seed=self._seed)
        if not len(held):
            self.warnings.append("no class has two samples, so nothing could be held out for validation")
            return whole, None
        single = [self.classes[k] for k in (torch.bincount(whole.labels, minlength=len(self.classes)) == 1).nonzero().flatten()]
        if single:
            few = f"{', '.join(single[:10])}{' …' if len(single) > 10 else ''}"
            self.warnings.append(f"{len(single)} class(es) have one sample only, so none of theirs is in the validation part: {few}")
        return whole.subset(train), whole.subset(held)

    @property
    def train(self) -> Split | StreamedSplit:
        """The training part, without what is held out."""
        return self._train_and_val[0]

    @cached_property
    def val(self) -> Split | StreamedSplit | None:
        """The validation part: the source's own, or what was held out of train; None if there is neither."""
        return self._read("val") if "val" in self._source.parts else self._train_and_val[1]

    @cached_property
    def test(self) -> Split | StreamedSplit | None:
        """The test part, which nothing reads before its first use here; None if the source has none."""
        return self._read("test") if "test" in self._source.parts else None

    @cached_property
    def class_counts(self) -> list[int]:
        """Training samples of each class, after the holding out."""
        if self._source.counts is None:
            return torch.bincount(self.train.labels, minlength=len(self.classes)).tolist()
        held = held_out_counts(self._source.counts, self._val if self._holds_out else 0.0)
        return [count - out for count, out in zip(self._source.counts, held, strict=True)]

    @property
    def num_train(self) -> int:
        """How many samples the training part has."""
        return sum(self.class_counts)

    @cached_property
    def _moments(self) -> tuple[list[float], list[float]]:
        held_out = f"without the share {self._val} drawn by seed {self._seed}" if self._holds_out else "whole"
        return self._source.remember(f"mean and std of train, {held_out}", self._measure)

    def _measure(self) -> tuple[list[float], list[float]]:
        if not self.train.resident:
            self.warnings.append("mean and std cost a reading of every training picture; data.mean=[…] data.std=[…] spares that")
        return moments(pixel_histogram(self.train, self.in_channels))

    @cached_property
    def mean(self) -> list[float]:
        """Mean of each channel over the training part, of pixels in [0, 1], unless given."""
        return self._moments[0] if self._mean is None else [float(value) for value in self._mean]

    @cached_property
    def std(self) -> list[float]:
        """Standard deviation of each channel over the training part, at least 0.001, unless given."""
        if self._std is not None:
            return [float(value) for value in self._std]
        constant = [str(channel) for channel, value in enumerate(self._moments[1]) if value < STD_FLOOR]
        if constant:
            self.warnings.append(f"channel {', '.join(constant)} is constant over the training pictures; its std is taken as {STD_FLOOR}")
        return [max(value, STD_FLOOR) for value in self._moments[1]]


def check_pixels(images: Tensor, shape: tuple[int, int, int], *, where: str) -> None:
    """Refuse pictures (N, C, H, W) that are no bytes: floats could lie in any range, and would silently be trained on in a wrong one.

    Raises:
        DataError: they are not uint8 of ``shape`` (C, H, W) each.
    """
    if images.is_floating_point():
        low, high = images.min().item(), images.max().item()
        what = "not all finite numbers" if not math.isfinite(low + high) else f"from {low:.3g} to {high:.3g}"
        if low < 0:
            what += " (normalised already? The run does that itself)"
        fix = "give torch.uint8 from 0 to 255: (255 * pixels).round().to(torch.uint8) of pixels in [0, 1]"
        raise DataError(f"pictures are {images.dtype}, {what}, where bytes belong", where=where, fix=fix)
    if images.dtype != torch.uint8 or images.shape[1:] != shape:
        what = f"pictures are {images.dtype} of shape {tuple(images.shape)}, not torch.uint8 of {('N', *shape)}"
        raise DataError(what.replace("'N'", "N"), where=where, fix="give that, or name the right channels and size in the Source")


def pixel_histogram(split: Split | StreamedSplit, channels: int) -> Tensor:
    """How often each byte occurs in each channel: int64 (C, 256)."""
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    with progress("measuring mean and std", len(split)) as advance:
        for images, _, _ in split.fetch(torch.arange(len(split)).split(512)):
            for channel in range(channels):
                counts[channel] += torch.bincount(images[:, channel].reshape(-1), minlength=256).cpu()
            advance(len(images))
    return counts


def moments(histogram: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation (of the population) of each channel, in units of 255, from whole-number sums."""
    values = torch.arange(256)
    means, stds = [], []
    for counts in histogram:
        number, total, squares = (int(x) for x in (counts.sum(), (counts * values).sum(), (counts * values * values).sum()))
        means.append(total / number / 255)
        stds.append(math.sqrt(number * squares - total * total) / number / 255)
    return means, stds
