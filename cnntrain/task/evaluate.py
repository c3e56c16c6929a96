"""``cnntrain evaluate checkpoint=…``: how good a trained network is, with the error bars and the mistakes."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from cnntrain.config import signature
from cnntrain.config.quote import literal
from cnntrain.config.recipe import Recipe, check
from cnntrain.engine import checkpoint as checkpoints
from cnntrain.engine import evaluation as engine
from cnntrain.engine.checkpoint import Checkpoint
from cnntrain.engine.inputs import Normalise, Split
from cnntrain.engine.pictures import shorten
from cnntrain.engine.terminal import console
from cnntrain.engine.views import Views
from cnntrain.errors import DataError
from cnntrain.task.load import build_model, using
from cnntrain.task.outcome import flatten
from cnntrain.task.results import check_out, write_csv, write_json
from cnntrain.units import Count

MOST_ROWS = 40  # classes that the terminal lists; of more, those with the lowest F1
MOST_SQUARE = 12  # classes whose confusion matrix fits 80 columns
MOST_PAIRS = 15


def evaluate(
    *,
    checkpoint: str,
    data: Recipe | None = None,
    split: Literal["test", "val", "train"] = "test",
    tta: Views | None = None,
    knobs: dict[str, Any] | None = None,
    batch_size: Count = 256,
    out: str | None = None,
    machine: Recipe,
    trust: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Judge a checkpoint on a split of its own data, or of other ``data`` with the same class names; print it, and write it to ``out``.

    ``tta`` names the views of a picture that are averaged; None: those of the run's own validation. ``knobs`` are values laid over those of
    the checkpoint's model, which leave its weights what they are: ``{"column": 2}``, ``{"net": {"column": 2}}`` for a net within it.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
        DataError: there is no such split, or the data do not fit the checkpoint.
        ConfigError: the model has no such knob, or its weights do not fit with it.
    """
    path = check_out(out, (".json", ".csv"))
    stored = checkpoints.read(checkpoint)
    config = stored.meta["config"]
    computer = machine()
    with using(computer), nullcontext() if data else _naming_the_data(config["data"]):
        recipe = data or check(config["data"], place="data", trust=trust)
        dataset = recipe(seed=config["seed"])  # the run's seed: what it held out for validation is held out again
        classes = stored.meta["classes"]
        loss = check(config["loss"], place="loss", trust=trust)(class_counts=stored.meta.get("class_counts") or dataset.class_counts)
        pixels = {"mean": stored.meta["mean"], "std": stored.meta["std"]}
        goal = check(config["objective"], place="objective", trust=trust)(loss=loss, num_classes=len(classes), **pixels)
        mapping = fit_to(stored, dataset, keys=list(recipe.values), labelled=goal.outputs == "logits")
        part = getattr(dataset, split)
        if part is None:
            raise no_such_part(dataset, split, list(recipe.values))
        evaluation = engine.evaluate(
            computer.place(build_model(stored, trust, knobs)),
            Renumbered(part.to(computer.device), mapping),
            objective=goal,
            normalise=Normalise(**pixels, device=computer.device, memory_format=computer.memory_format),
            machine=computer,
            batch_size=batch_size,
            tta=tta or config.get("tta", "none"),
        )
    result = evaluation.describe(classes) | {
        "checkpoint": str(stored.path),
        "step": stored.meta["step"],
        "data": dataset.name,
        "split": split,
        "tta": tta or config.get("tta", "none"),
        **({"knobs": knobs} if knobs else {}),
    }
    names = getattr(part, "names", None)  # of the files, where there are any
    for entry in result.get("worst", []):
        place = entry["place"]
        entry |= {"file": names[place] if names is not None else None, "class": dataset.classes[part.labels[place]]}
    show(result, dataset.warnings)
    if path is not None:
        write_json(path, result) if path.suffix.lower() == ".json" else write_csv(path, rows_of(result))
        console().print(f"written to {path}", markup=False, soft_wrap=True)
    return result


@contextmanager
def _naming_the_data(node: dict[str, Any]) -> Iterator[None]:
    """A fix that sets a key of the data names these data too: this command has no such keys where they are the checkpoint's own."""
    try:
        yield
    except DataError as error:
        home, _, option = node["_target_"].rpartition(".")
        if not (error.fix.startswith("data.") and home.startswith("cnntrain.data.")):
            raise
        shipped = {name: one.default for name, one in signature.read(node["_target_"]).parameters.items()}
        words = [f"data={option}"]
        words += [
            f"data.{key}={literal(value)}"
            for key, value in node.items()
            if key in shipped and value != shipped[key] and not error.fix.startswith(f"data.{key}=")
        ]
        raise DataError(error.what, where=error.where, fix=f"{shlex.join(words)} {error.fix}") from error


def no_such_part(dataset: Any, split: str, keys: Sequence[str]) -> DataError:
    """The error for a part that the data do not have. ``keys`` are those of the data's node."""
    other = "val" if split == "test" and dataset.val is not None else "test" if split == "val" and dataset.test is not None else "train"
    every = ", or split=train data.val=0 for all its pictures" if "val" in keys else ""
    return DataError(f"{dataset.name} has no {split} part", where="split", fix=f"split={other}{every}")


def fit_to(checkpoint: Checkpoint, dataset: Any, *, keys: Sequence[str] = (), labelled: bool = True) -> Tensor:
    """The checkpoint's class number of each class of the data, found by name: int64 (K,). ``keys`` are those of the data's node.

    Classes that the data lack are a warning of ``dataset``. Without ``labelled`` nothing hangs on the classes: all are number 0.

    Raises:
        DataError: the data have a class, channels or an image size that the network was not trained for.
    """
    facts, classes = checkpoint.meta["model"]["facts"], checkpoint.meta["classes"] if labelled else list(dataset.classes)
    lacking = sorted(set(classes) - set(dataset.classes))
    if lacking:
        few = f"{', '.join(lacking[:10])}{' …' if len(lacking) > 10 else ''}"
        dataset.warnings.append(f"{dataset.name} lacks {len(lacking)} of the checkpoint's {len(classes)} classes: {few}")
    if not set(dataset.classes) <= set(classes):
        theirs, ours = _few(dataset.classes, classes), _few(classes, dataset.classes)
        raise DataError(
            f"{dataset.name} has {len(dataset.classes)} classes ({theirs}), the checkpoint {len(classes)} ({ours})",
            where="data",
            fix="give data with the checkpoint's classes, by the same names",
        )
    for name, settings in (("in_channels", ("channels", "in_channels")), ("image_size", ("image_size",))):
        found, wanted = getattr(dataset, name), facts[name]
        if found != wanted:
            own = next((key for key in settings if key in keys), None)
            raise DataError(
                f"{dataset.name} has {name} {found}, the checkpoint's network takes {wanted}",
                where="data",
                fix=f"data.{own}={wanted}" if own else f"name data with {name} {wanted}, or train a network on these",
            )
    return torch.tensor([classes.index(name) if labelled else 0 for name in dataset.classes])


def _few(names: Sequence[str], others: Sequence[str]) -> str:
    """A few of the names, those first that the others lack."""
    ordered = sorted(names, key=lambda name: name in set(others))
    return ", ".join(ordered[:5]) + (", …" if len(ordered) > 5 else "")


class Renumbered:
    """A split whose labels count the checkpoint's classes instead of its own."""

    def __init__(self, split: Split, mapping: Tensor) -> None:
        self.split, self.mapping = split, mapping.to(split.labels.device)
        self.labels = self.mapping[split.labels]

    def __len__(self) -> int:
        return len(self.split)

    def fetch(self, orders: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As the split's own, with the other numbers."""
        for images, labels, index in self.split.fetch(iter(orders)):
            yield images, self.mapping.to(labels.device)[labels], index


def rows_of(result: dict[str, Any]) -> Iterator[list[object]]:
    """The result as a long table: measure, class, predicted class (of the confusion matrix's cells that are not 0), value.

    Of reconstructions: measure, picture (its file or place in the part, of the worst ones), value.
    """
    if "classes" not in result:
        yield ["measure", "picture", "value"]
        yield from ([name, "", result[name]] for name in ("pictures", "psnr", "psnr_median", "psnr_lowest", "loss"))
        for entry in result["worst"]:
            yield from ([name, entry["file"] or entry["place"], entry[name]] for name in ("psnr", "loss"))
        return
    yield ["measure", "class", "predicted", "value"]
    for name in ("pictures", "accuracy", "accuracy_low", "accuracy_high", "top5", "loss", "calibration_error"):
        if name in result:
            yield [name, "", "", result[name]]
    names = [entry["name"] for entry in result["classes"]]
    for entry in result["classes"]:
        for name in ("count", "precision", "recall", "f1"):
            yield [name, entry["name"], "", entry[name]]
    for truth, row in zip(names, result["confusion"], strict=True):
        for predicted, count in zip(names, row, strict=True):
            if count:
                yield ["confusion", truth, predicted, count]


def show(result: dict[str, Any], warnings: Iterable[str]) -> None:
    """Print the tables, at most 80 columns wide where there is no wider terminal."""
    say = console()
    for warning in warnings:
        say.print(f"note: {warning}", markup=False, soft_wrap=True)
    say.print(f"{result['checkpoint']}, step {result['step']:,}", markup=False, soft_wrap=True)
    views = "" if result["tta"] == "none" else f", tta={result['tta']}"
    views += "".join(f", {name}={value}" for name, value in flatten(result.get("knobs", {})).items())
    classes = f", {len(result['classes'])} classes" if "classes" in result else ""
    say.print(f"{result['data']}, {result['split']}: {result['pictures']:,} pictures{classes}{views}", markup=False, soft_wrap=True)
    say.print(_overall(result))
    if not classes:
        say.print(_worst(result))
        return
    say.print(_per_class(result["classes"]))
    if len(result["classes"]) <= MOST_SQUARE:
        say.print(_square(result))
    else:
        say.print(_pairs(result))


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is words and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    return table


def _percent(share: float) -> str:
    """A share in percent; a dash where it is 0/0."""
    return "–" if share != share else f"{100 * share:.2f} %"


def _overall(result: dict[str, Any]) -> Table:
    table = _table("", "measure", "value", *(["95 % interval"] if "accuracy_low" in result else []))
    if "accuracy" in result:
        interval = f"{100 * result['accuracy_low']:.2f} – {100 * result['accuracy_high']:.2f} %"
        table.add_row("accuracy", _percent(result["accuracy"]), interval)
    if "top5" in result:
        table.add_row("top-5 accuracy", _percent(result["top5"]))
    for name, words in (("psnr", "PSNR, mean"), ("psnr_median", "PSNR, median"), ("psnr_lowest", "PSNR, lowest")):
        if name in result:
            table.add_row(words, f"{result[name]:.2f} dB")
    table.add_row("loss", f"{result['loss']:.4f}")
    if "calibration_error" in result:
        table.add_row("calibration error", _percent(result["calibration_error"]))
    return table


def _worst(result: dict[str, Any]) -> Table:
    """The worst reconstructions, named by their files, or by their places in the part if they are no files."""
    entries = result["worst"]
    table = _table(f"The {len(entries)} worst of {result['pictures']:,} reconstructions", "picture", "PSNR", "loss", "class")
    table.columns[-1].justify = "left"
    for entry in entries:
        name = entry["file"] or f"number {entry['place']:,}"
        shown = Text(shorten(name[::-1], width=32)[::-1])
        table.add_row(shown, f"{entry['psnr']:.2f} dB", f"{entry['loss']:.4f}", Text(shorten(entry["class"], width=16)))
    return table


def _per_class(entries: list[dict[str, Any]]) -> Table:
    title = "Classes"
    if len(entries) > MOST_ROWS:
        # A class that neither occurs nor is predicted has no F1; it is not among the worst.
        worst = sorted(entries, key=lambda entry: (entry["f1"] != entry["f1"], entry["f1"]))[:MOST_ROWS]
        title, entries = f"The {MOST_ROWS} classes with the lowest F1, of {len(entries)} (all: out=FILE.json)", worst
    table = _table(title, "class", "pictures", "precision", "recall", "F1")
    for entry in entries:
        table.add_row(
            Text(shorten(entry["name"], width=32)), f"{entry['count']:,}", *(_percent(entry[key]) for key in ("precision", "recall", "f1"))
        )
    return table


def _square(result: dict[str, Any]) -> Table:
    names = [entry["name"] for entry in result["classes"]]
    table = _table("Confusion matrix: a row is the truth, a column what it was taken for", "", *map(str, range(len(names))))
    for place, (name, row) in enumerate(zip(names, result["confusion"], strict=True)):
        cells = [Text("·" if not count else str(count), style="bold" if place == column else "") for column, count in enumerate(row)]
        table.add_row(Text(f"{place} {shorten(name, width=16)}"), *cells)
    return table


def _pairs(result: dict[str, Any]) -> Table:
    names = [entry["name"] for entry in result["classes"]]
    mistakes = [
        (count, truth, predicted)
        for truth, row in enumerate(result["confusion"])
        for predicted, count in enumerate(row)
        if count and truth != predicted
    ]
    worst = sorted(mistakes, key=lambda mistake: (-mistake[0], *mistake[1:]))[:MOST_PAIRS]
    table = _table("Most confused (the whole matrix: out=FILE.json)", "class", "pictures", "of the class", "taken for")
    table.columns[-1].justify = "left"
    for count, truth, predicted in worst:
        share = count / result["classes"][truth]["count"]
        table.add_row(Text(shorten(names[truth])), f"{count:,}", _percent(share), Text(shorten(names[predicted])))
    return table
