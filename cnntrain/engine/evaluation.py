"""Judging a model on a split: every sample once, in the split's order, and nothing about the model changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from cnntrain.engine.inputs import Normalise, Split
from cnntrain.engine.machine import Machine
from cnntrain.engine.metrics import Evaluation, collect, judge
from cnntrain.engine.views import Views, averaged
from cnntrain.errors import DataError


class Objective(Protocol):
    """What evaluation asks of an objective (see ``cnntrain/objective``): ``loss``, logits and targets (B,K) to the samples' losses (B,)."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def targets(self, labels: Tensor) -> Tensor:
        """Class probabilities (B,K) of labels (B,)."""
        ...


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    objective: Objective,
    normalise: Normalise,
    machine: Machine,
    num_classes: int,
    batch_size: int = 256,
    tta: Views = "none",
) -> Evaluation:
    """Judge a model, already placed on its machine, on all samples of a split, each by the views that ``tta`` names.

    The result does not depend on the batch size (but for what the kernels themselves round), the loss and the accuracy are a plain loop's.
    The host waits for the device once, at the end.

    Raises:
        DataError: the split is empty.
    """
    if len(split) == 0:
        raise DataError("There is no picture to evaluate on", fix="choose another split, e.g. split=val")
    figures = []
    # no_grad, not inference_mode: what a module may store in its first pass must still serve in training.
    with evaluating(model), torch.no_grad():
        for images, labels, _ in split.fetch(iter(torch.arange(len(split)).split(batch_size))):
            labels = labels.to(machine.device, non_blocking=True)
            inputs = normalise(images)
            with machine.autocast():
                logits = averaged(model, inputs, tta)  # in float32: as in training, the loss is taken in full precision
            figures.append(judge(logits, labels, objective.loss(logits, objective.targets(labels))))
    evaluation = Evaluation(collect(figures), num_classes)
    assert len(evaluation) == len(split), f"{len(evaluation)} samples were fetched of a split of {len(split)}"
    return evaluation


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every submodule's flag is what it was (a frozen batch norm's too)."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        # Not by train(): it descends, and a model may have its own that keeps frozen layers in evaluation mode.
        for module, training in flags:
            module.training = training
