"""``cnntrain lr_find``: a learning rate range test (SPEC T2), drawn three times over, with the override to paste.

:func:`find_lr` is the test itself, which ``optimizer.lr=auto`` runs before a training.
"""

import io
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from torch import Tensor, nn

from cnntrain.config.recipe import Recipe
from cnntrain.draws import Draws
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.board import Board
from cnntrain.engine.clock import Clock
from cnntrain.engine.curve import draw_curve
from cnntrain.engine.inputs import Normalise, Split, TrainBatches
from cnntrain.engine.machine import Machine
from cnntrain.engine.range_test import RULES, RangeTest, range_test
from cnntrain.engine.run import Run
from cnntrain.engine.storage import write_whole
from cnntrain.engine.terminal import console
from cnntrain.errors import CheckpointError
from cnntrain.task.assemble import build_model
from cnntrain.task.sheet import sheet
from cnntrain.units import Count, Decay, Duration, Positive, Size

Steps = Duration | Literal["auto"]
FEWEST, MOST = 400, 1000  # steps of an automatic test: 7 decades in 150 steps left LeNet-5 on digits no time to learn at any of them
START, END = 1e-6, 10.0


def lr_find(
    *,
    model: Recipe,
    data: Recipe,
    augment: dict[str, Recipe] | None = None,
    loss: Recipe,
    optimizer: Recipe,
    schedule: Recipe,
    objective: Recipe,
    weights: Recipe,
    machine: Recipe,
    start: Positive = START,
    end: Positive = END,
    steps: Duration | Literal["auto"] = "auto",
    scale: Literal["exponential", "linear"] = "exponential",
    smoothing: Decay = 0.9,
    explosion: Positive = 4.0,
    batch_size: Count = 128,
    microbatch: Count | None = None,
    clip: Positive | None = None,
    seed: Size = 0,
    run: Run,
) -> dict[str, Any]:
    """Find learning rates, show them, and write lr_find.png and TensorBoard events to the run's folder.

    Raises:
        ConfigError: the parts do not fit together, or the range is empty.
        CheckpointError: the folder cannot be written.
    """
    computer = machine()
    with run, computer.session(seed):
        dataset = data(seed=seed)
        network, groups = weights(model=computer.place(build_model(model, dataset)))
        screen = console()
        with _bar(screen) as bar:
            task = bar.add_task("range test", total=test_length(steps, len(dataset.train), batch_size), lr="", loss="")
            found = find_lr(
                network=network,
                groups=groups,
                optimizer=optimizer,
                split=dataset.train.to(computer.device),
                augmentation=Augmentation([operation() for operation in (augment or {}).values()]),
                normalise=Normalise(dataset.mean, dataset.std, device=computer.device, memory_format=computer.memory_format),
                objective=objective(loss=loss(class_counts=dataset.class_counts), num_classes=len(dataset.classes)),
                machine=computer,
                batch_size=batch_size,
                microbatch=microbatch,
                clip=clip,
                seed=seed,
                steps=steps,
                start=start,
                end=end,
                scale=scale,
                smoothing=smoothing,
                explosion=explosion,
                on_step=lambda step, lr, mean: bar.update(task, completed=step + 1, lr=f"{lr:.2g}", loss=f"{mean:.3f}", refresh=step % 10 == 0),
            )
        paths = write(found, run)
        lines = overrides(found, schedule)
        show(found, lines, paths)
        run.result = {"value": found.suggestions.get(found.rule), "suggestions": found.suggestions}
    return {
        "suggestion": found.suggestions.get(found.rule),
        "suggestions": found.suggestions,
        "overrides": lines,
        "steps": len(found.lrs),
        "ended": found.ended,
        "folder": str(run.folder),
    }


def find_lr(
    *,
    network: nn.Module,
    groups: list[dict[str, Any]],
    optimizer: Recipe,
    split: Split,
    augmentation: Augmentation,
    normalise: Normalise,
    objective: Any,
    machine: Machine,
    batch_size: int,
    seed: int,
    steps: Steps = "auto",
    start: float = START,
    end: float = END,
    scale: Literal["exponential", "linear"] = "exponential",
    smoothing: float = 0.9,
    explosion: float = 4.0,
    clip: float | None = None,
    microbatch: int | None = None,
    on_step: Callable[[int, float, float], object] | None = None,
) -> RangeTest:
    """The range test of a network on its training data, as the run will see them; all that is given stays as it is.

    ``groups`` are what the weights recipe made of ``network`` (on the device); ``split`` is the training part, there too.
    """
    length = test_length(steps, len(split), batch_size)
    clock = Clock(num_samples=len(split), batch_size=batch_size, epochs=f"{length}it")
    draws = Draws(seed, len(split), machine.device)
    train = TrainBatches(split, clock, draws)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        step = 0
        for epoch in range(clock.num_epochs):
            for images, labels, index in train.epoch(epoch, step=step):
                images, targets = augmentation(images, objective.targets(labels), draws.at(epoch, step, index))
                yield normalise(images), targets
                step += 1

    return range_test(
        model=network,
        groups=groups,
        make_optimizer=optimizer.replace(lr=1.0),
        batches=batches(),
        objective=objective,
        machine=machine,
        start=start,
        end=end,
        steps=length,
        scale=scale,
        smoothing=smoothing,
        explosion=explosion,
        clip=clip,
        microbatch=microbatch,
        seed=seed,
        on_step=on_step,
    )


def test_length(steps: Steps, num_samples: int, batch_size: int) -> int:
    """The test's length in steps; ``auto`` is an epoch, but neither too short to learn anything nor longer than it need be."""
    if steps == "auto":
        return min(max(Clock(num_samples=num_samples, batch_size=batch_size, epochs=1).total, FEWEST), MOST)
    return Clock(num_samples=num_samples, batch_size=batch_size, epochs=steps).total


test_length.__test__ = False  # type: ignore[attr-defined]
