"""Cross entropy with label smoothing and class weights.

Label smoothing: Szegedy et al., *Rethinking the Inception Architecture*, 2015, arXiv 1512.00567, section 7. Balanced weights
N / (K·n_k): King, Zeng, *Logistic Regression in Rare Events Data*, 2001, as in scikit-learn.
"""

from typing import Literal

import torch
import torch.nn.functional as F

from cnntrain.errors import ConfigError
from cnntrain.units import Fraction, Positive


class CrossEntropy:
    """``-Σ_k w_k·t'_k·log softmax(z)_k`` with ``t' = (1 - smoothing)·t + smoothing / K``, per sample.

    The same as torch's ``cross_entropy`` with probabilities as targets. Its mean over a batch divides by the number of samples, not by
    the sum of their weights (which torch does where targets are class numbers): a sample's pull does not depend on its batch.
    ``balanced`` weights have mean 1 over the training samples, so the learning rate keeps its meaning.
    """

    def __init__(
        self, *, class_counts: list[int], smoothing: Fraction = 0.0, class_weights: list[Positive] | Literal["balanced"] | None = None
    ) -> None:
        """Raises ConfigError if the weights do not fit the classes."""
        self.smoothing = smoothing
        self.weights = None if class_weights is None else _weights(class_weights, class_counts)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) and class probabilities (B, K) to losses (B,), in nats."""
        if self.weights is not None and (self.weights.device, self.weights.dtype) != (logits.device, logits.dtype):
            self.weights = self.weights.to(logits)  # once: the device is not known before the first batch
        return F.cross_entropy(logits, targets, weight=self.weights, label_smoothing=self.smoothing, reduction="none")


def _weights(class_weights: list[float] | str, class_counts: list[int]) -> torch.Tensor:
    """The classes' weights (K,) in double precision."""
    place, classes = "loss.class_weights", len(class_counts)
    if class_weights == "balanced":
        if 0 in class_counts:
            raise ConfigError(
                f"class {class_counts.index(0)} has no training sample, so balanced weights cannot be computed",
                where=place,
                fix="give loss.class_weights as a list of numbers, or remove the empty class",
            )
        counts = torch.tensor(class_counts, dtype=torch.float64)
        return counts.sum() / (classes * counts)
    if len(class_weights) != classes:
        raise ConfigError(
            f"{len(class_weights)} class weights for {classes} classes", where=place, fix=f"give {classes} numbers, or balanced, or null"
        )
    return torch.tensor(class_weights, dtype=torch.float64)
