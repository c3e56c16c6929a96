"""What a classifier is judged by, from one row of figures a sample: exact, and the same for every batch size.

Nothing here is a mean of batch means: each sample counts once, whatever batch it came in. Sums are made in float64 on the host.

- Wilson (1927), "Probable inference, the law of succession, and statistical inference": the interval of a share.
- Guo, Pleiss, Sun, Weinberger (2017), "On calibration of modern neural networks", arXiv 1706.04599: expected calibration error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

CALIBRATION_BINS = 15  # Guo et al. 2017
TOP = 5
MOST_DRAWN = 2000  # classes: a picture has no room for more, and to draw 10,000 takes gigabytes, at the end of a training


@dataclass(frozen=True)
class Samples:
    """What is kept of every sample, in the split's order, on the CPU.

    ``labels``, ``predicted`` and ``rank`` int64 (N,): the true class, the class of the highest logit, and how many classes stand before the
    true one (0 is a hit). ``confidence`` float64 (N,): the softmax probability of ``predicted``. ``losses`` float64 (N,).
    """

    labels: Tensor
    predicted: Tensor
    rank: Tensor
    confidence: Tensor
    losses: Tensor

    @property
    def correct(self) -> Tensor:
        """Which samples were hit: bool (N,)."""
        return self.predicted == self.labels


def judge(logits: Tensor, labels: Tensor, losses: Tensor) -> Tensor:
    """The figures of one batch, float32 (5,B), on the logits' device and without waiting for it: see :func:`collect`.

    Equal logits are told apart by the class's number (the lower one wins), as argmax does, so that ties do not depend on the device; a
    logit that is NaN never counts as a hit among the first five.
    """
    predicted = logits.argmax(dim=1)  # (B,)
    best = logits.gather(1, predicted[:, None])[:, 0]  # max(dim=1) gives both, but starts all threads for the smallest batch
    confidence = torch.exp(best - logits.logsumexp(dim=1)).clamp(max=1)
    own = logits.gather(1, labels[:, None])  # (B, 1)
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]  # (B, K)
    rank = (~(logits <= own) | ((logits == own) & earlier)).sum(dim=1)
    # float32 holds whole numbers up to 2^24 exactly, and every device has it.
    return torch.stack([row.to(torch.float32) for row in (labels, predicted, rank, confidence, losses)])


def collect(figures: list[Tensor]) -> Samples:
    """All batches' figures as one table: the only time that the host waits for the device."""
    labels, predicted, rank, confidence, losses = torch.cat(figures, dim=1).cpu().double()
    return Samples(labels.long(), predicted.long(), rank.long(), confidence, losses)


@dataclass(frozen=True)
class ClassEvaluation:
    """All that is said of a model on a split of N samples and K classes."""

    samples: Samples
    num_classes: int

    def __len__(self) -> int:
        return len(self.samples.labels)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """``loss``, ``accuracy``, ``top5`` (where K > 5) and ``calibration_error``: means over the samples."""
        metrics = {"loss": self.samples.losses.mean().item(), "accuracy": self.samples.correct.double().mean().item()}
        if self.num_classes > TOP:
            metrics["top5"] = (self.samples.rank < TOP).double().mean().item()
        return metrics | {"calibration_error": calibration_error(self.calibration)}

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson(int(self.samples.correct.sum()), len(self))

    @cached_property
    def confusion(self) -> Tensor:
        """How often each class (row) was taken for each class (column): int64 (K,K)."""
        return confusion_matrix(self.samples.labels, self.samples.predicted, self.num_classes)

    @cached_property
    def classes(self) -> dict[str, Tensor]:
        """``precision``, ``recall``, ``f1`` and ``count`` of each class: see :func:`per_class`."""
        return per_class(self.confusion)

    @cached_property
    def calibration(self) -> Tensor:
        """The reliability diagram's rows: see :func:`calibration_bins`."""
        return calibration_bins(self.samples.confidence, self.samples.correct)

    def describe(self, classes: Sequence[str]) -> dict[str, Any]:
        """All figures as plain values, those of each class under its name."""
        low, high = self.interval
        columns = {name: values.tolist() for name, values in self.classes.items()}
        return {
            "pictures": len(self),
            **self.metrics,
            "accuracy_low": low,
            "accuracy_high": high,
            "classes": [{"name": name, **{key: values[place] for key, values in columns.items()}} for place, name in enumerate(classes)],
            "confusion": self.confusion.tolist(),
        }

    def show(self, board: Any, part: str, classes: Sequence[str], step: int) -> None:
        """TensorBoard gets the confusion matrix, if a picture has room for it."""
        if self.num_classes <= MOST_DRAWN:
            board.confusion(f"{part}/confusion", self.confusion, classes, step)


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts of (truth, prediction): int64 (K,K), rows are the truth."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 (float64 (K,)) and count (int64 (K,), the samples of that class) from a confusion matrix (K,K).

    What is 0/0 is NaN: the precision of a class that was never predicted, the recall of one that does not occur.
    """
    hits, actual, predicted = confusion.diagonal().double(), confusion.sum(dim=1), confusion.sum(dim=0)
    return {"precision": hits / predicted, "recall": hits / actual, "f1": 2 * hits / (actual + predicted), "count": actual}


def wilson(hits: int, total: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share (1927, also Agresti and Coull 1998); ``z`` is the normal quantile, here of 95 %.

    Unlike the normal approximation it stays within [0, 1], and has a width at 0 % and at 100 %.
    """
    share, square = hits / total, z * z / total
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
    # At the ends the bound is 0 or 1 by algebra, but not by rounding.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == total else centre + half)


def calibration_bins(confidence: Tensor, correct: Tensor, *, bins: int = CALIBRATION_BINS) -> Tensor:
    """Count, mean confidence and accuracy of each bin ((m−1)/M, m/M] of the confidence: float64 (bins, 3); an empty bin is zeros."""
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    place = torch.bucketize(confidence.double(), edges)  # (N,); a confidence on an edge belongs to the bin below it
    sums = torch.zeros(bins, 3, dtype=torch.float64)
    sums.index_add_(0, place, torch.stack([torch.ones_like(confidence), confidence, correct.to(confidence.dtype)], dim=1).double())
    sums[:, 1:] /= sums[:, :1].clamp(min=1)
    return sums


def calibration_error(table: Tensor) -> float:
    """The expected calibration error Σ count/N · |accuracy − confidence| of :func:`calibration_bins` (Guo et al. 2017, eq. 3)."""
    count, confidence, accuracy = table.unbind(dim=1)
    return float((count * (accuracy - confidence).abs()).sum() / count.sum())
