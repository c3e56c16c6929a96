"""``cnntrain lr_find``: a learning rate range test (SPEC T2), drawn three times over, with the override to paste.

:func:`find_lr` is the test itself, which ``optimizer.lr=auto`` runs before a training.
"""

import io
import math
import shlex
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
from cnntrain.engine.inputs import Normalise, TrainBatches, TrainSplit
from cnntrain.engine.machine import Machine
from cnntrain.engine.range_test import RULES, RangeTest, range_test
from cnntrain.engine.run import Run
from cnntrain.engine.signals import Signals
from cnntrain.engine.storage import write_whole
from cnntrain.engine.terminal import console
from cnntrain.errors import CheckpointError
from cnntrain.task.assemble import build_model, goal_of, inputs_of, operations_of
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
    batch_size: Count = 64,
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
    with run, computer.session(seed), Signals(run):
        dataset = data(seed=seed)
        normalise = Normalise(dataset.mean, dataset.std, device=computer.device, memory_format=computer.memory_format)
        goal = goal_of(objective, loss, dataset)
        network = computer.place(build_model(model, dataset, outputs=goal.outputs, loss=loss))
        network, groups = weights(model=network, inputs=inputs_of(dataset, normalise, seed))
        length = length_of_test(steps, len(dataset.train), batch_size)
        clock = Clock(num_samples=len(dataset.train), batch_size=batch_size, epochs=f"{length}it")
        screen = console()
        with _bar(screen) as bar:
            task = bar.add_task("range test", total=clock.total, lr="", loss="")
            found = find_lr(
                network=network,
                groups=groups,
                optimizer=optimizer,
                split=dataset.train.to(computer.device),
                augmentation=Augmentation(operations_of(augment, clock, network, dataset)),
                normalise=normalise,
                objective=goal,
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
                on_step=lambda step, lr, mean: bar.update(
                    task, completed=step + 1, lr=f"{lr:.2g}", loss=f"{mean:.3f}", refresh=step % 10 == 0
                ),
            )
        paths = write(found, run)
        lines = overrides(found, schedule)
        show(found, lines, [*to_train(lines, run), *paths])
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
    split: TrainSplit,
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
    length = length_of_test(steps, len(split), batch_size)
    clock = Clock(num_samples=len(split), batch_size=batch_size, epochs=f"{length}it")
    draws = Draws(seed, len(split), machine.device)
    train = TrainBatches(split, clock, draws, augmentation)

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


def settled(optimizer: Recipe, run: Run, **given: Any) -> Recipe:
    """The optimizer with a number as its learning rate: ``auto`` is found by a range test, and written into the run's config.

    ``given`` is what :func:`find_lr` asks for.

    Raises:
        ConfigError: the range test found none.
    """
    if optimizer.values.get("lr") != "auto":
        return optimizer
    peak = find_lr(optimizer=optimizer, **given).suggestion
    run.config["optimizer"]["lr"] = peak  # a resume goes on with it
    run.write_config()
    console().print(f"optimizer.lr=auto: the range test suggests {peak:g}")
    return optimizer.replace(lr=peak)


def length_of_test(steps: Steps, num_samples: int, batch_size: int) -> int:
    """The test's length in steps; ``auto`` is an epoch, but neither too short to learn anything nor longer than it need be."""
    if steps == "auto":
        return min(max(Clock(num_samples=num_samples, batch_size=batch_size, epochs=1).total, FEWEST), MOST)
    return Clock(num_samples=num_samples, batch_size=batch_size, epochs=steps).total


def overrides(found: RangeTest, schedule: Recipe) -> dict[str, str]:
    """What to paste behind ``cnntrain``: the recommended learning rate, and for cyclical schedules Smith's two bounds."""
    if found.rule not in found.suggestions:
        return {}
    lines = {"recommended": f"optimizer.lr={found.suggestion:g}"}
    low, high = found.suggestions["base_lr"], found.suggestions["max_lr"]
    if schedule.target.startswith("cnntrain.schedule.cyclical.") and low < high:
        lines["Smith's bounds"] = f"optimizer.lr={high:g} schedule.base={low / high:.2g}"
    return lines


def to_train(lines: dict[str, str], run: Run) -> list[str]:
    """The command that trains what was tested, at the recommended learning rate."""
    words = run.words(but=("optimizer.lr", "start", "end", "steps", "scale", "smoothing", "explosion"))
    if words is None or "recommended" not in lines:
        return []
    return [f"{'to train':<15} {run.program} {shlex.join([*words, lines['recommended']])}"]


def show(found: RangeTest, lines: dict[str, str], paths: list[str]) -> None:
    """The curve, the rules, the overrides and the files."""
    screen = console()
    marks = sorted(((lr, f"{rule} {lr:g}") for rule, lr in found.suggestions.items()))
    drawing = draw_curve(found.lrs, _cut(found), width=min(screen.width, 100), height=14, log_x=True, marks=marks,
                         title="loss, smoothed", x_label="learning rate")  # fmt: skip
    screen.print(Text(f"\n{drawing}\n"), soft_wrap=True)
    if found.suggestions:
        table = sheet("rule", "learning rate", "where")
        table.columns[0].justify = table.columns[2].justify = "left"
        for rule, lr in found.suggestions.items():
            table.add_row(rule, f"{lr:g}", RULES[rule] + (" (recommended)" if rule == found.rule else ""))
        screen.print(table)
    else:
        screen.print(Text("The loss never fell: no learning rate of this range helps. Try another range, or more steps."), soft_wrap=True)
    say = [f"{len(found.lrs)} steps; {found.ended}", *(f"{name:<15} {words}" for name, words in lines.items()), *paths]
    for line in say:
        screen.print(Text(line), soft_wrap=True)


def write(found: RangeTest, run: Run) -> list[str]:
    """``lr_find.png``, and the same in TensorBoard: learning rate and loss by step, and the picture.

    Raises:
        CheckpointError: the storage failed.
    """
    import matplotlib.image

    pixels = picture(found)
    file = io.BytesIO()
    matplotlib.image.imsave(file, pixels, format="png")
    path = run.folder / "lr_find.png"
    board = Board(run.folder, purge_step=None, warn=console().print)
    try:
        write_whole(path, lambda target: target.write(file.getvalue()))
        for step, (lr, loss, mean) in enumerate(zip(found.lrs, found.losses, found.smoothed, strict=True)):
            board.scalars({"lr_find/lr": lr, "lr_find/loss": loss, "lr_find/smoothed": mean}, step)
        board.writer.add_image("lr_find/curve", pixels, 0, dataformats="HWC")
        board.close()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}", where="hydra.run.dir", fix="hydra.run.dir=FOLDER elsewhere"
        ) from error
    return [f"{'plot':<15} {path}", f"{'tensorboard':<15} {run.tensorboard_command}"]


def picture(found: RangeTest) -> np.ndarray:
    """The plot: uint8 (H,W,3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    axes.plot(found.lrs, found.losses, color="0.75", linewidth=1, label="loss of each batch")
    axes.plot(found.lrs, found.smoothed, color="C0", linewidth=2, label="smoothed")
    for place, (rule, lr) in enumerate(sorted(found.suggestions.items(), key=lambda item: item[1])):
        chosen = rule == found.rule
        axes.axvline(
            lr, color=f"C{place + 1}", linestyle="-" if chosen else "--", label=f"{rule}: {lr:g}" + (" (recommended)" if chosen else "")
        )
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title="Learning rate range test")
    axes.set_ylim(*_limits(found))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _limits(found: RangeTest) -> tuple[float, float]:
    """What of the loss is worth drawing: how far it explodes in the end would hide all the rest."""
    low, first = min(found.smoothed), found.smoothed[0]
    room = max(first - low, 0.05 * abs(first))
    return low - 0.15 * room, first + 0.4 * room


def _cut(found: RangeTest) -> list[float]:
    """The smoothed loss up to the limit; what is above is not drawn."""
    limit = _limits(found)[1]
    return [mean if mean <= limit else math.nan for mean in found.smoothed]


def _bar(screen: Any) -> Progress:
    """A bar in a terminal, nothing elsewhere; without a thread of its own, which would take from those that train."""
    figures = TextColumn("lr {task.fields[lr]} · loss {task.fields[loss]}")
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.percentage:>3.0f} %"), figures,
        console=screen, auto_refresh=False, transient=True, disable=not screen.is_terminal,
    )  # fmt: skip
