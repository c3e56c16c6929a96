"""The held-out validation part (SPEC T10): seeded, shuffled and stratified, never the tail of the file.

How many samples of a class are held out is a function of the class counts alone, so a set whose counts are published knows its training
size before a file is read. Which ones is a function of the seed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnntrain import draws


def held_out_counts(counts: Sequence[int], fraction: float) -> list[int]:
    """How many samples of each class are held out.

    The nearest whole number to ``fraction`` of all, shared by largest remainder (Hamilton's method); then every class of two or more
    samples gives at least one and keeps at least one.
    """
    if not fraction:
        return [0] * len(counts)
    shares = [fraction * count for count in counts]
    held = [int(share) for share in shares]
    missing = round(fraction * sum(counts)) - sum(held)
    by_remainder = sorted(range(len(counts)), key=lambda k: (held[k] - shares[k], k))
    for k in by_remainder[:missing]:
        held[k] += 1
    return [min(max(number, 1), count - 1) if count >= 2 else 0 for number, count in zip(held, counts, strict=True)]


def hold_out(labels: Tensor, fraction: float, *, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The samples that stay in train and those held out: two ascending int64 index tensors that together are all of ``labels`` (N,)."""
    counts = torch.bincount(labels, minlength=num_classes)
    held = torch.tensor(held_out_counts(counts.tolist(), fraction), dtype=torch.int64)
    shuffled = torch.randperm(len(labels), generator=draws.generator(seed, "holdout"))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]  # class after class, each in shuffled order
    of_class = labels[by_class]
    rank = torch.arange(len(labels)) - (torch.cumsum(counts, 0) - counts)[of_class]  # a sample's place within its class
    chosen = rank < held[of_class]
    return by_class[~chosen].sort().values, by_class[chosen].sort().values
