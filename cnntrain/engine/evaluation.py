"""Judging a model on a split: every sample once, in the split's order, and nothing about the model changed.

By what it is judged is the objective's business (see ``cnntrain/objective``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cnntrain.engine.inputs import Normalise, Split
from cnntrain.engine.machine import Machine
from cnntrain.engine.views import Views, averaged
from cnntrain.errors import DataError


class Evaluation(Protocol):
    """What an objective says of a model on a split; ``len`` is the number of samples."""

    @property
    def metrics(self) -> dict[str, float]:
        """By name; ``loss`` is among them."""
        ...

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of its first figure, if it has one."""
        ...

    def __len__(self) -> int: ...

    def describe(self, classes: Sequence[str]) -> dict[str, Any]:
        """All that there is to say, as plain values."""
        ...

    def show(self, board: Any, part: str, classes: Sequence[str], step: int) -> None:
        """Show on the board what is best seen."""
        ...


class Objective(Protocol):
    """What evaluation asks of an objective."""

    def judge(self, outputs: Tensor, inputs: Tensor, labels: Tensor, *, seen: int) -> Any:
        """What is kept of a batch, on the device; there were ``seen`` samples before it."""
        ...

    def evaluation(self, judged: list[Any]) -> Evaluation:
        """What is said of all batches together."""
        ...


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    objective: Objective,
    normalise: Normalise,
    machine: Machine,
    batch_size: int = 256,
    tta: Views = "none",
) -> Evaluation:
    """Judge a model, already placed on its machine, on all samples of a split, each by the views that ``tta`` names.

    The result does not depend on the batch size (but for what the kernels themselves round).
    The host waits for the device once, at the end.

    Raises:
        DataError: the split is empty.
    """
    if len(split) == 0:
        raise DataError("There is no picture to evaluate on", fix="choose another split, e.g. split=val")
    judged: list[Any] = []
    seen = 0
    # no_grad, not inference_mode: what a module may store in its first pass must still serve in training.
    with evaluating(model), torch.no_grad():
        for images, labels, _ in split.fetch(iter(torch.arange(len(split)).split(batch_size))):
            labels = labels.to(machine.device, non_blocking=True)
            inputs = normalise(images)
            with machine.autocast():
                outputs = averaged(model, inputs, tta)  # in float32: as in training, the loss is taken in full precision
            judged.append(objective.judge(outputs, inputs, labels, seen=seen))
            seen += len(labels)
    evaluation = objective.evaluation(judged)
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
