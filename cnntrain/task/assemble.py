"""What several tasks do on the way from recipes to parts."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cnntrain.config.recipe import Recipe
from cnntrain.config.signature import read
from cnntrain.draws import generator
from cnntrain.engine.augmentation import Operation
from cnntrain.engine.checkpoint import Checkpoint
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import Evaluation
from cnntrain.engine.inputs import Normalise
from cnntrain.engine.machine import is_out_of_memory
from cnntrain.engine.run import Run
from cnntrain.engine.shapes import Layer, check_shapes, layer_table, shortened
from cnntrain.engine.terminal import console
from cnntrain.engine.trace import Unfit, build_unfilled, meta_copy, trace
from cnntrain.engine.views import Views, check_views
from cnntrain.errors import ConfigError, DataError

Outputs = Literal["logits", "images"] | None  # what an objective expects of a model; None: anything


def build_model(model: Recipe, dataset, *, outputs: Outputs, loss: Recipe) -> nn.Module:
    """The network for a data set, on the CPU (so that its start is the same on every device), its shapes checked.

    ``outputs``: what the objective expects of it; None: anything.

    Raises:
        ConfigError: an image is too small for it (the layer and the smallest size that works are named), it gives other outputs,
            or its weights alone are more than memory holds.
    """
    facts = model_facts(dataset)
    _say(check_shapes(_by_size(model, facts), facts["in_channels"], facts["image_size"], _expected(outputs, facts)))
    network = model(**facts)
    _say(_loss_remarks(network, outputs, loss))
    return network


def outline(model: Recipe, dataset, *, outputs: Outputs, loss: Recipe, batch: int) -> tuple[nn.Module, list[Layer]]:
    """The network without numbers, as the memory was: it takes no time to draw and, unread, no memory; and its layer table.

    Raises:
        ConfigError: as :func:`build_model`.
    """
    facts = model_facts(dataset)
    build, expected = _by_size(model, facts), _expected(outputs, facts)
    try:
        network = build_unfilled(lambda: build(facts["image_size"]))
        layers = layer_table(network, facts["in_channels"], facts["image_size"], batch, output=expected, spare=True)
    except Exception:
        check_shapes(build, facts["in_channels"], facts["image_size"], expected)  # which knows what would fit
        raise
    _say(shortened([remark for layer in layers for remark in layer.remarks]) + _loss_remarks(network, outputs, loss))
    return network, layers


def _by_size(model: Recipe, facts: dict[str, int]) -> Callable[[int], nn.Module]:
    """The network for another image size, without its published weights."""
    bare = unfetched(model)
    return lambda image_size: _made(bare, facts | {"image_size": image_size})


def _made(model: Recipe, facts: dict[str, int]) -> nn.Module:
    """The network of a recipe, or one line on what makes it too large for memory."""
    try:
        return model(**facts)
    except (RuntimeError, MemoryError, OverflowError) as error:
        if not is_out_of_memory(error) and "overflow" not in str(error):
            raise
        size, key, fix = max([(facts["image_size"], "image_size", "smaller images"), *_knobs(model)])
        raise ConfigError("The model's weights are more than memory holds", where=f"{key}={size}", fix=fix) from error


def _knobs(model: Recipe) -> Iterator[tuple[int, str, str]]:
    """The whole numbers in a model's recipe: each with its key, and how to make it smaller."""
    for name, value in model.values.items():
        key, default = f"{model.place}.{name}", read(model.target).parameters[name].default
        if isinstance(value, Recipe):
            yield from _knobs(value)
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int):
                yield number, key, f"{key}={default}" if isinstance(default, int) and default < number else f"a smaller {key}"


def _expected(outputs: Outputs, facts: dict[str, int]) -> int | Literal["images"] | None:
    """The same as :func:`check_shapes` has it."""
    return facts["num_classes"] if outputs == "logits" else outputs


def _loss_remarks(network: nn.Module, outputs: Outputs, loss: Recipe) -> list[str]:
    """That a network which is made for a loss is to learn by another one, if that is so."""
    wanted = getattr(network, "made_for", "") if outputs == "logits" else ""
    here = {"loss": loss.target.split(".")[-2], **{f"loss.{key}": str(value) for key, value in loss.values.items()}}
    if all(here.get(key) == value for key, _, value in (word.partition("=") for word in wanted.split())):
        return []
    return [f"{type(network).__name__} is made for {wanted}; with another loss it learns, but not as it was meant to"]


def _say(remarks: list[str]) -> None:
    for remark in remarks:
        console().print(f"note: {remark}", markup=False, soft_wrap=True)


def goal_of(objective: Recipe, loss: Recipe, dataset, tta: Views = "none") -> Any:
    """The objective for a data set.

    Raises:
        ConfigError: what it expects of a model cannot be averaged over the views of ``tta``.
    """
    given = {"num_classes": len(dataset.classes), "mean": dataset.mean, "std": dataset.std}
    goal = objective(loss=loss(class_counts=dataset.class_counts), **given)
    check_views(tta, goal.outputs)
    return goal


def model_facts(dataset) -> dict[str, int]:
    """What the data say of the model."""
    return {"in_channels": dataset.in_channels, "num_classes": len(dataset.classes), "image_size": dataset.image_size}


def inputs_of(dataset, normalise: Normalise, seed: int) -> Callable[[int], Tensor]:
    """The fact ``inputs`` of weights that are computed from the data: nothing is read before it is asked for."""

    def inputs(count: int) -> Tensor:
        order = torch.randperm(len(dataset.train), generator=generator(seed, "inputs"))[:count]
        return torch.cat([normalise(images) for images, _, _ in dataset.train.fetch(iter(order.split(256)))])

    return inputs


def operations_of(augment: dict[str, Recipe] | None, clock: Clock, network: nn.Module, dataset) -> list[Operation]:
    """The augmentations in their order.

    Raises:
        ConfigError: one of them makes pictures of a size that the network cannot take.
    """
    operations = {name: recipe(clock=clock) for name, recipe in (augment or {}).items()}
    for name, operation in operations.items():
        for size in operation.sizes(dataset.image_size) if hasattr(operation, "sizes") else ():
            try:
                layer_table(network, dataset.in_channels, size, 2)
            except ConfigError as error:
                others = ",".join(other for other in operations if other != name)
                raise ConfigError(error.what, where=f"augment.{name}", fix=f"augment=[{others}], or a model for any image size") from error
    return list(operations.values())


def check_parts(network: nn.Module, dataset, clock: Clock, microbatch: int | None) -> None:
    """Refuse passes of a single sample where batch norm has but one value a channel left to take statistics of.

    Raises:
        ConfigError: a batch, or what ``microbatch`` leaves of one, is such a sample.
    """
    part, last = microbatch or clock.batch_size, clock.num_samples % clock.batch_size
    sizes = [clock.batch_size] + [last] * (last > 1)  # of the steps' batches
    if part > 1 and all(size % part != 1 for size in sizes):
        return
    try:
        trace(meta_copy(network, "cpu"), torch.zeros(1, dataset.in_channels, dataset.image_size, dataset.image_size), training=True)
    except Unfit as error:
        whole = [count for count in range(part + 1, clock.batch_size + 1) if all(size % count != 1 for size in sizes)]
        key, fits = ("microbatch", whole[0]) if clock.batch_size > 1 else ("batch_size", 2)
        raise ConfigError(
            f"With {key}={min(part, clock.batch_size)} the model is given a single sample, from which it cannot learn: {error}",
            where=key,
            fix=f"{key}={fits}",
        ) from error


def facts_of(dataset, model: Recipe, run: Run) -> dict[str, Any]:
    """What a checkpoint needs beside the state, to be of use by itself."""
    return {
        "config": run.config,
        "model": {"recipe": model.plain(), "facts": model_facts(dataset)},
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "num_train": len(dataset.train),
        "class_counts": list(dataset.class_counts),
        "samples": samples_of(dataset.train),
        "val_samples": samples_of(dataset.val) if dataset.val is not None else None,
    }


def samples_of(split) -> str:
    """A digest of which sample stands where: of the labels in their order, and of the files' names where there are files."""
    digest = hashlib.blake2b(split.labels.cpu().numpy().tobytes(), digest_size=16)
    names = getattr(split, "names", None)
    if names is not None:
        digest.update(names.digest())
    return digest.hexdigest()


def check_same_data(checkpoint: Checkpoint, dataset) -> None:
    """Refuse to go on with other data: order, held-out part and class numbers would be others than in the steps that are done.

    Raises:
        DataError: what differs.
    """
    now = {
        "classes": list(dataset.classes),
        "class_counts": list(dataset.class_counts),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }
    for name, value in now.items():
        if checkpoint.meta[name] != value:
            before, after = _where_they_differ(checkpoint.meta[name], value)
            raise DataError(
                f"the data are not those of the run: its {name.replace('_', ' ')} are {before}, now they are {after}",
                where="data",
                fix="put the run's data back, or start a new run",
            )
    for name, split, text in (
        ("samples", dataset.train, "its pictures stand in another order, or are named otherwise"),
        ("val_samples", dataset.val, "its validation part has other pictures, by which the best was not chosen"),
    ):
        digest = samples_of(split) if split is not None else None
        if checkpoint.meta.get(name, digest) != digest:
            raise DataError(f"the data are not those of the run: {text}", where="data", fix="put the run's data back, or start a new run")


def _where_they_differ(old: list[Any], new: list[Any]) -> tuple[str, str]:
    """Two lists in words; of long ones, how many there are and a few from the first that differs on."""
    if max(len(old), len(new)) <= 12:
        return str(old), str(new)
    place = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    mine, theirs = (f"{len(values):,}, of which {values[place : place + 3]} from number {place} on" for values in (old, new))
    return mine, theirs


def no_evaluation(model: nn.Module) -> Evaluation | None:
    """Where nothing is held out, nothing is judged."""
    return None


def unfetched(model: Recipe) -> Recipe:
    """The model without its published weights, for where they come from a checkpoint or only shapes are asked: nothing is downloaded."""
    if inner := {name: unfetched(value) for name, value in model.values.items() if isinstance(value, Recipe)}:
        model = model.replace(**inner)
    if model.target.startswith("torchvision.models.") and model.values.get("weights") is not None:
        return model.replace(weights=None)
    return model.replace(pretrained=False) if model.values.get("pretrained") else model
