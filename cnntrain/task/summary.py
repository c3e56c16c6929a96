"""``cnntrain summary``: what a run would be made of, layer by layer, its schedule drawn; or what a checkpoint holds."""

from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import torch
from rich.text import Text
from torch import Tensor, nn

from cnntrain.config.recipe import Recipe, check
from cnntrain.config.source import load as target_of
from cnntrain.engine import checkpoint as checkpoints
from cnntrain.engine.checkpoint import Checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.shapes import Layer, layer_table, totals
from cnntrain.engine.state import judged_prefix
from cnntrain.engine.terminal import console
from cnntrain.task import load, sheet
from cnntrain.task.assemble import model_facts, outline
from cnntrain.units import Count, Duration, Size


class Plan(NamedTuple):
    """What is shown, from the config or from a file."""

    network: nn.Module
    layers: list[Layer]
    facts: dict[str, int]
    lines: list[tuple[str, str]]
    recipes: dict[str, Recipe]
    epochs: float | str
    batch_size: int
    num_train: int | None
    tensors: dict[str, Tensor]


def summary(
    *,
    model: Recipe,
    data: Recipe,
    augment: dict[str, Recipe] | None = None,
    loss: Recipe,
    optimizer: Recipe,
    schedule: Recipe,
    objective: Recipe,
    weights: Recipe,
    average: Recipe,
    machine: Recipe,
    epochs: Duration = 40,
    batch_size: Count = 64,
    seed: Size = 0,
    layers: Literal["brief", "all"] = "brief",
    checkpoint: str | None = None,
    trust: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Show layers, totals, what ``auto`` chose, data, parameter groups and schedule; of a ``checkpoint``, also all its tensors.

    Nothing is downloaded: of a known data set only what is known beforehand is told. A checkpoint brings its own config along.

    Raises:
        ConfigError: the parts do not fit together; for instance, an image is too small for the model.
        CheckpointError: the file is missing, damaged or of another model.
    """
    recipes = {"optimizer": optimizer, "schedule": schedule, "weights": weights}
    computer = machine()
    with load.using(computer):
        if checkpoint is None:
            described = [("loss", loss), ("objective", objective), ("average", average)]
            described += [("augment", operation) for operation in (augment or {}).values()]
            plan = planned(model, data(seed=seed), recipes, described, epochs=epochs, batch_size=batch_size)
        else:
            plan = stored(checkpoints.read(checkpoint), trust)
        result = show(plan, everything=layers == "all", half=computer.precision in ("bf16", "fp16"))
    return result


def planned(
    model: Recipe, dataset: Any, recipes: dict[str, Recipe], described: list[tuple[str, Recipe]], *, epochs: float | str, batch_size: int
) -> Plan:
    """The run that the config describes."""
    goal = dict(described)
    outputs = getattr(target_of(goal["objective"].target), "outputs", None)  # known without making one, for which pictures would be read
    network, layers = outline(model, dataset, outputs=outputs, loss=goal["loss"], batch=batch_size)
    size = f"{dataset.image_size}×{dataset.image_size}×{dataset.in_channels}"
    # A data set that must be fetched is known without it; what is not is left out.
    lines = [("data", f"{dataset.name}: {dataset.num_train:,} to train on · {size} · {len(dataset.classes)} classes")]
    lines += [(name, _call(recipe)) for name, recipe in described] + [("note", warning) for warning in dataset.warnings]
    return Plan(network, layers, model_facts(dataset), lines, recipes, epochs, batch_size, dataset.num_train, {})


def stored(checkpoint: Checkpoint, trust: tuple[str, ...]) -> Plan:
    """What a checkpoint holds: its network with the judged weights, and the config of its run."""
    meta, config = checkpoint.meta, checkpoint.meta["config"]
    network = load.build_model(checkpoint, trust)
    facts = meta["model"]["facts"]
    size = f"{facts['image_size']}×{facts['image_size']}×{facts['in_channels']}"
    figures = ", ".join(f"{name} {value:.4g}" for name, value in meta["metrics"].items())
    lines = [
        ("checkpoint", str(checkpoint.path)),
        ("trained", f"{meta['step']:,} steps, {meta['epoch']} epochs" + (f" · validation: {figures}" if figures else "")),
        ("data", f"{config['data']['_target_'].rpartition('.')[2]} · {size} · {len(meta['classes'])} classes"),
        ("pixels", f"mean {_numbers(meta['mean'])} · std {_numbers(meta['std'])}"),
    ]
    recipes = {name: check(config[name], place=name, trust=trust) for name in ("optimizer", "schedule", "weights") if name in config}
    prefix = judged_prefix(checkpoint.tensors)
    tensors = {name.removeprefix(prefix): value for name, value in checkpoint.tensors.items() if name.startswith(prefix)}
    batch_size = config.get("batch_size", 128)
    layers = layer_table(network, facts["in_channels"], facts["image_size"], batch_size)
    return Plan(network, layers, facts, lines, recipes, config.get("epochs", 1), batch_size, meta.get("num_train"), tensors)


def show(plan: Plan, *, everything: bool, half: bool) -> dict[str, Any]:
    """Print it all; return it as plain values."""
    screen = console()
    facts = plan.facts
    rows, sums = plan.layers, totals(plan.layers)
    chosen = dict(getattr(plan.network, "choices", {}))
    optimizer, groups = _optimizer(plan)
    buffers = sum(b.numel() * b.element_size() for b in plan.network.buffers())
    lines, needed = sheet.total_lines(sums, batch_size=plan.batch_size, state_bytes=state_bytes(groups), buffer_bytes=buffers, half=half)

    def say(lines: list[tuple[str, str]]) -> None:
        for label, words in lines:
            screen.print(Text(sheet.wrapped(label, words, screen.width)), soft_wrap=True)

    screen.print(sheet.layer_rows(rows, facts["image_size"], everything=everything, width=screen.width))
    if not everything:
        say([("", "every layer, norms and activations too: layers=all")])
    say([("model", type(plan.network).__name__), *chosen.items(), *lines, *plan.lines])
    if groups:
        say([("optimizer", optimizer)])
        screen.print(sheet.group_rows(groups))
    timetable = _timetable(plan, screen.width)
    say(timetable.pop("lines"))
    if drawing := timetable.pop("drawing", ""):
        screen.print(Text(f"\n{drawing}"), soft_wrap=True)
    result = {
        "layers": [_plain(row) for row in rows],
        **asdict(sums),
        "memory": needed,
        "choices": chosen,
        "groups": [{"parameters": sum(p.numel() for p in g["params"]), **_numbers_of(g)} for g in groups],
        "schedule": timetable,
    }
    if plan.tensors:
        table, result["tensors"] = sheet.parameter_rows(plan.tensors)
        screen.print(table)
    return result


def _optimizer(plan: Plan) -> tuple[str, list[dict[str, Any]]]:
    """The optimizer in words, and its parameter groups."""
    if not {"optimizer", "weights"} <= plan.recipes.keys():
        return "", []
    recipe = plan.recipes["optimizer"]
    size, channels = plan.facts["image_size"], plan.facts["in_channels"]
    # No data are read here, and of weights that are computed from them only the groups are shown: one black picture stands for them.
    _, params = plan.recipes["weights"](model=plan.network, inputs=lambda count: torch.zeros(1, channels, size, size))
    # On meta: what an optimizer keeps beside the weights is told, and takes no memory.
    shapes = [{**group, "params": [nn.Parameter(p.detach().to("meta")) for p in group["params"]]} for group in params]
    return _call(recipe), _with_rate(recipe)(params=shapes).param_groups


def state_bytes(groups: list[dict[str, Any]]) -> int:
    """What the optimizer keeps beside each weight, in bytes: momentum; Adam's two means; RMSprop's one to three."""
    total = 0
    for group in groups:
        if "betas" in group:
            copies = 2 + bool(group.get("amsgrad"))
        elif "alpha" in group:
            copies = 1 + (group.get("momentum", 0) > 0) + bool(group.get("centered"))
        else:
            copies = int(group.get("momentum", 0) > 0)
        total += 4 * copies * sum(p.numel() for p in group["params"])
    return total


def _timetable(plan: Plan, width: int) -> dict[str, Any]:
    """The schedule drawn, its length and notes (``lines`` to print)."""
    if not {"optimizer", "schedule"} <= plan.recipes.keys() or not plan.num_train:
        return {"lines": []}
    clock = Clock(num_samples=plan.num_train, batch_size=plan.batch_size, epochs=plan.epochs)
    peak = plan.recipes["optimizer"].values["lr"]
    course = plan.recipes["schedule"](clock=clock, lr=1.0 if peak == "auto" else peak)
    drawing = sheet.schedule_drawing(
        course, total=clock.total, steps_per_epoch=clock.steps_per_epoch, width=min(width, 100), relative=peak == "auto"
    )
    length = f"{clock.total:,} steps of {plan.batch_size}, {clock.steps_per_epoch:,} an epoch"
    lines = [("schedule", _call(plan.recipes["schedule"])), ("", length), *(("note", note) for note in course.notes)]
    places = {"first": 0, "middle": clock.total // 2, "last": clock.total - 1}
    return {
        "lines": lines,
        "drawing": drawing,
        "steps": clock.total,
        "notes": list(course.notes),
        **{name: course(step) for name, step in places.items()},
    }


def _with_rate(recipe: Recipe) -> Recipe:
    """The optimizer with some number where ``auto`` stands."""
    return recipe.replace(lr=1.0) if recipe.values.get("lr") == "auto" else recipe


def _call(recipe: Recipe) -> str:
    """A recipe as its call: ``sgd(lr=0.1, momentum=0.9)``."""
    given = {name: value for name, value in recipe.plain().items() if name != "_target_"}
    return f"{recipe.target.rpartition('.')[2]}({', '.join(f'{name}={value}' for name, value in given.items())})"


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _numbers_of(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in ("weight_decay", "lr_scale") if name in group}


def _plain(layer: Layer) -> dict[str, Any]:
    """A layer's row with tuples as lists, and its window as a dict."""
    row = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(layer).items()}
    return row | {"window": dict(vars(layer.window)) if layer.window else None}
