"""The tables and drawings of ``cnntrain summary``, for 80 columns; nothing here computes more than sums."""

import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from cnntrain.engine.curve import draw_curve
from cnntrain.engine.shapes import Layer, Totals

_MOST_POINTS = 2000  # of a drawn schedule; a terminal shows fewer


def count(value: float) -> str:
    """A count in at most five characters: 432, 9.4k, 118M, 3.72G."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g}{unit}" if value < 999.5 * factor else f"{value / factor:,.0f}{unit}"
    return f"{value:.0f}"


def memory(size: float) -> str:
    """Bytes in the unit that fits: 512 B, 77 MB, 2.84 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} B"


def megabytes(size: float) -> str:
    """Bytes in MB to three figures, for a column of that name; nothing for none."""
    value = size / 1e6
    return "" if not size else f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}" if value >= 0.001 else "<.001"


def _shared(names: Sequence[str]) -> str:
    """The module that all these layers are in, with its dot: ``net.`` of ``net.features.0`` and ``net.fc``."""
    first, *rest = names
    parts = first.split(".")[:-1]
    while parts and not all(name.startswith(".".join(parts) + ".") for name in rest):
        parts.pop()
    return ".".join(parts) + "." if parts else ""


def layer_rows(layers: Sequence[Layer], image_size: int, *, everything: bool, width: int) -> Table:
    """The layer table, at most ``width`` columns wide.

    Unless ``everything``, layers that neither multiply nor change the shape are summed in one row.
    """
    shown: list[Layer] = []
    rest: list[Layer] = []
    for i, layer in enumerate(layers):
        (shown if everything or _matters(layers, i) else rest).append(layer)
    separable = any(layer.dense_multiply_adds != layer.multiply_adds for layer in layers)
    heads = ["layer", "kind", "output", "sees", "params", "mult-adds", *(["dense"] if separable else []), "MB"]
    rows = []
    shared = _shared([layer.name for layer in shown])
    for layer in shown:
        kind = layer.kind.removesuffix("2d") + (f" {layer.window.short}" if layer.window else "")
        rows.append(
            [
                layer.name.removeprefix(shared),
                kind,
                "×".join(str(n) for n in layer.output),
                _sees(layer, image_size),
                *_figures(layer, separable),
            ]
        )
    if rest:
        kinds = ", ".join(dict.fromkeys(layer.kind.removesuffix("2d") for layer in rest))
        parameters, saved = sum(layer.parameters for layer in rest), sum(layer.saved_bytes for layer in rest)
        empty = [""] * (2 if separable else 1)
        rows.append([f"{len(rest)} others", kinds, "", "", count(parameters) if parameters else "", *empty, megabytes(saved)])
    # Figures keep their room (two columns lie between neighbours, one at each end); names and kinds share what is left.
    figures = sum(max(len(row[column]) for row in [heads, *rows]) for column in range(2, len(heads)))
    room = max(width - figures - 2 * len(heads), 20)
    kinds_room = min(max(len(row[1]) for row in rows), max(room * 2 // 5, room - max(len(row[0]) for row in rows)))
    for row in rows:
        row[:2] = _cut(row[0], room - kinds_room, front=True), _cut(row[1], kinds_room, front=False)
    table = sheet(*heads)
    # A cell for each column, not for each figure: rich takes a millisecond to measure and set a row, and there may be thousands.
    table.add_row(*(Text("\n".join(column)) for column in zip(*rows, strict=True)))
    return table


def _cut(name: str, width: int, *, front: bool) -> str:
    """A name without its beginning (``front``) or its end, where it is too long."""
    if len(name) <= width:
        return name
    return "…" + name[1 - width :] if front else name[: width - 1] + "…"


def _matters(layers: Sequence[Layer], i: int) -> bool:
    """Whether a layer multiplies or changes the shape that came to it."""
    layer = layers[i]
    plain = not layer.multiply_adds and not layer.window and not layer.training_only
    return not (plain and (i > 0 and layer.output == layers[i - 1].output or not layer.output))


def _figures(layer: Layer, separable: bool) -> list[str]:
    figures = [layer.parameters, layer.multiply_adds, *([layer.dense_multiply_adds] if separable else [])]
    words = [count(value) if value else "" for value in figures]
    return [*words, megabytes(layer.saved_bytes)]


def _sees(layer: Layer, image_size: int) -> str:
    """The receptive field; "all" where every pixel of the output sees the whole image."""
    if layer.receptive_field is None:
        return ""
    height, width = layer.receptive_field
    if min(height, width) >= 2 * image_size - 1:
        return "all"
    return str(height) if height == width else f"{height}×{width}"


def total_lines(sums: Totals, *, batch_size: int, state_bytes: int, buffer_bytes: int, half: bool) -> tuple[list[tuple[str, str]], int]:
    """The totals as labelled lines, and the bytes that training takes."""
    kept = sums.saved_bytes // 2 if half else sums.saved_bytes
    weights, gradients = 4 * sums.parameters + buffer_bytes, 4 * sums.trainable
    whole = weights + gradients + state_bytes + kept
    frozen = f", {sums.parameters - sums.trainable:,} of them frozen" if sums.trainable != sums.parameters else ""
    lines = [("parameters", f"{sums.parameters:,} ({memory(4 * sums.parameters)}){frozen}")]
    lines.append(("multiply-adds", f"{sums.multiply_adds:,} an image"))
    if sums.dense_multiply_adds != sums.multiply_adds:
        ratio = sums.dense_multiply_adds / max(sums.multiply_adds, 1)
        lines.append(("", f"{sums.dense_multiply_adds:,} with dense convolutions in place of grouped ones ({ratio:.1f} times as many)"))
    parts = f"activations {memory(kept)}, weights {memory(weights)}, gradients {memory(gradients)}, optimizer {memory(state_bytes)}"
    lines.append(("memory", f"about {memory(whole)} to train at batch_size={batch_size}: {parts}"))
    return lines, whole


def schedule_drawing(plan: Any, *, total: int, steps_per_epoch: int, width: int, relative: bool) -> str:
    """Learning rate (and momentum, where it is cycled) over the run, in epochs."""
    steps = sorted({round(i * (total - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)}) if total > _MOST_POINTS else range(total)
    values = [plan(step) for step in steps]
    epochs = [step / steps_per_epoch for step in steps]
    title = "learning rate" + (", as a share of what the range test will find" if relative else "")
    drawings = [draw_curve(epochs, [value["lr"] for value in values], width=width, height=10, title=title, x_label="epoch")]
    if any("momentum" in value for value in values):
        momenta = [value.get("momentum", float("nan")) for value in values]
        drawings.append(draw_curve(epochs, momenta, width=width, height=6, title="momentum", x_label="epoch"))
    return "\n\n".join(drawings)


def group_rows(groups: Sequence[dict[str, Any]]) -> Table:
    """The optimizer's parameter groups."""
    table = sheet("parameter group", "tensors", "parameters", "weight decay", "lr ×")
    for group in groups:
        decay = group.get("weight_decay", 0)
        kind = "decayed (filters, matrices)" if decay else "not decayed"
        size = sum(p.numel() for p in group["params"])
        table.add_row(kind, f"{len(group['params'])}", f"{size:,}", f"{decay:g}" if decay else "", f"{group['lr_scale']:g}")
    return table


def parameter_rows(tensors: dict[str, Tensor]) -> tuple[Table, list[dict[str, Any]]]:
    """Every tensor of a weights file: name, shape, mean and (population) standard deviation; the same as plain values."""
    table, plain = sheet("tensor", "shape", "mean", "std"), []
    table.columns[1].justify = "left"
    for name, tensor in tensors.items():
        values = tensor.double()
        mean, std = (float(values.mean()), float(values.std(correction=0))) if tensor.numel() else (float("nan"),) * 2
        shape = "×".join(str(n) for n in tensor.shape) or "number"
        table.add_row(Text(name), shape, f"{mean:.4g}", f"{std:.4g}")
        plain.append({"name": name, "shape": list(tensor.shape), "mean": mean, "std": std})
    return table, plain


def wrapped(label: str, words: str, width: int) -> str:
    """A labelled line, its overhang under its own words."""
    return "\n".join(textwrap.wrap(words, width, initial_indent=f"{label:<14} ", subsequent_indent=" " * 15, break_on_hyphens=False))


def sheet(*columns: str) -> Table:
    """An empty table: words on the left, figures on the right, cut with an ellipsis where the terminal is narrow."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    words = ("layer", "kind", "parameter group", "tensor")
    for name in columns:
        table.add_column(
            name,
            justify="left" if name in words else "right",
            no_wrap=name != "tensor",
            overflow="fold" if name == "tensor" else "ellipsis",
        )
    return table
