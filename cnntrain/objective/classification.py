"""Classification into exclusive classes, with auxiliary heads in training.

Auxiliary heads: Szegedy et al., *Going Deeper with Convolutions*, 2014, arXiv 1409.4842, section 5 (their losses count 0.3).
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import nn

from cnntrain.objective.class_metrics import ClassEvaluation, collect, judge
from cnntrain.units import Fraction


class Classification:
    """One class a picture, given as class probabilities so that mixed and smoothed targets are nothing special."""

    outputs: ClassVar[str] = "logits"
    means: ClassVar[dict[str, str]] = {"loss": "loss_sum", "accuracy": "correct"}

    def __init__(
        self,
        *,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        num_classes: int,
        aux_weight: Fraction = 0.3,
        monitor: Literal["accuracy", "loss"] = "accuracy",
    ) -> None:
        self.loss, self.num_classes, self.aux_weight, self.monitor = loss, num_classes, aux_weight, monitor

    def targets(self, labels: torch.Tensor) -> torch.Tensor:
        """Class numbers int64 (B,) to class probabilities float32 (B, K): all on one class."""
        return torch.zeros(len(labels), self.num_classes, device=labels.device).scatter_(1, labels[:, None], 1.0)

    def __call__(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor | int]]:
        """Inputs (B, C, H, W) and targets (B, K) to the mean loss and the batch's sums.

        The loss includes ``aux_weight`` times that of each auxiliary head that the model returns, and the model's ``penalty()`` if it
        has one. The statistics are of the main head's loss alone, so that training and validation losses compare; ``correct`` counts
        the samples whose largest logit is at the class with the largest target.
        """
        outputs = model(inputs)
        # torchvision's models give None for a head that is switched off.
        main, *heads = [_full(logits) for logits in outputs if logits is not None] if isinstance(outputs, tuple) else [_full(outputs)]
        losses = self.loss(main, targets)  # (B,)
        total = losses.mean()
        for head in heads:
            total = total + self.aux_weight * self.loss(head, targets).mean()
        if callable(penalty := getattr(model, "penalty", None)):
            total = total + penalty()
        correct = (main.detach().argmax(1) == targets.argmax(1)).sum()
        return total, {"loss_sum": losses.detach().sum(), "correct": correct, "count": len(targets)}

    def judge(self, logits: torch.Tensor, inputs: torch.Tensor, labels: torch.Tensor, *, seen: int) -> torch.Tensor:
        """The figures of each sample, float32 (5, B), from logits (B, K) and class numbers int64 (B,)."""
        return judge(logits, labels, self.loss(logits, self.targets(labels)))

    def evaluation(self, judged: list[torch.Tensor]) -> ClassEvaluation:
        """Metrics over the samples of all batches."""
        return ClassEvaluation(collect(judged), self.num_classes)


def _full(logits: torch.Tensor) -> torch.Tensor:
    """Logits of half precision (autocast) as float32: a loss is a difference of near numbers."""
    return logits.float() if logits.dtype.itemsize < 4 else logits
