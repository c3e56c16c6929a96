"""The dry pass: which shapes a network makes of an image size, what it costs, and whether it fits, before anything is trained."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cnntrain.engine.trace import Record, Trace, Unfit, build_without_numbers, meta_copy, on_meta, trace
from cnntrain.engine.window import Window
from cnntrain.errors import ConfigError

LARGEST = 1024  # beyond this size no image is tried


@dataclass(frozen=True)
class Layer:
    """A row of the layer table. Multiply-adds are per image, in evaluation; memory is for the batch, in training."""

    name: str
    kind: str
    window: Window | None  # kernel, stride, padding …
    output: tuple[int, ...]  # per image: without the batch's dimension
    receptive_field: tuple[int, int] | None  # height and width in pixels of the image; it may reach over the image's edge
    parameters: int
    trainable: int
    multiply_adds: int
    dense_multiply_adds: int  # with dense convolutions in the place of grouped and depthwise separable ones
    saved_bytes: int  # kept for the backward pass, in float32
    training_only: bool  # an auxiliary head
    remarks: tuple[str, ...] = ()  # what is odd about its map


@dataclass(frozen=True)
class Totals:
    """Sums over a layer table."""

    parameters: int
    trainable: int
    multiply_adds: int
    dense_multiply_adds: int
    saved_bytes: int


def layer_table(
    model: nn.Module, in_channels: int, image_size: int, batch: int, *, output: int | Literal["images"] | None = None, spare: bool = False
) -> list[Layer]:
    """Every layer in the order of its first use: each module without children, and others that have weights or multiply on their own.

    The model is left as it is, to the bit, and no generator is touched. ``output`` as in :func:`check_shapes`. With ``spare``, the model
    was built for this: only its parameters and buffers are left as they are, and it is not copied, which would take a third of the time.

    Raises:
        ConfigError: a layer cannot take its input, or something else than ``output`` comes out.
    """
    try:
        try:
            with on_meta(model) if spare else nullcontext(meta_copy(model)) as numberless:
                passes, share = _both(numberless, in_channels, image_size, batch), 1.0
        except Unfit as error:
            if error.__cause__ is None:
                raise
            # The network does what meta tensors cannot (reading a number, tensors of its own): two samples on the CPU instead.
            passes, share = _both(meta_copy(model, "cpu"), in_channels, image_size, 2), batch / 2
    except Unfit as error:
        raise _blocked(image_size, error) from error
    _check_outputs(passes, output, (round(batch / share), in_channels, image_size, image_size))
    (_, rows), (_, kept) = passes
    counted: set[int] = set()
    names = [*rows.records, *(name for name in kept.records if name not in rows.records)]
    layers = [_layer(rows.records.get(name), kept.records.get(name), counted, share) for name in names]
    return [layer for layer in layers if layer is not None]


def totals(layers: list[Layer]) -> Totals:
    """The sums of a layer table's columns."""
    keys = ("parameters", "trainable", "multiply_adds", "dense_multiply_adds", "saved_bytes")
    return Totals(**{key: sum(getattr(layer, key) for layer in layers) for key in keys})


_Passes = tuple[tuple[Any, Trace], tuple[Any, Trace]]


def _blocked(image_size: int, error: Unfit) -> ConfigError:
    return ConfigError(
        f"Images of {image_size}×{image_size} do not pass through the model: {error}",
        where="model",
        fix="another model, or another image size",
    )


def _both(model: nn.Module, in_channels: int, image_size: int, batch: int) -> _Passes:
    """The passes in evaluation and in training: output and trace of each."""
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    shape = (batch, in_channels, image_size, image_size)
    images = torch.empty(shape, device=device) if device.type == "meta" else torch.zeros(shape, device=device)
    return trace(model, images, training=False), trace(model, images, training=True)


def _layer(row: Record | None, kept: Record | None, counted: set[int], share: float) -> Layer | None:
    """One row from what evaluation and training saw of a layer; None for a mere container."""
    record = row or kept
    assert record is not None
    own = [p for p in record.module.parameters(recurse=False) if id(p) not in counted]
    counted.update(id(p) for p in own)
    saved = kept.saved_bytes if kept else 0
    if next(record.module.children(), None) is not None and not (own or record.multiply_adds or saved):
        return None
    return Layer(
        name=record.name or "(model)",
        kind=type(record.module).__name__,
        window=record.window,
        output=record.output[1:],
        receptive_field=record.receptive_field,
        parameters=sum(p.numel() for p in own),
        trainable=sum(p.numel() for p in own if p.requires_grad),
        multiply_adds=row.multiply_adds if row else 0,
        dense_multiply_adds=row.dense_multiply_adds if row else 0,
        saved_bytes=round(saved * share),
        training_only=row is None,
        remarks=tuple(row.remarks) if row else (),
    )


def check_shapes(build: Callable[[int], nn.Module], in_channels: int, image_size: int, output: int | Literal["images"] | None) -> list[str]:
    """Let two images pass through the net that ``build(image_size)`` makes, without arithmetic; returns remarks (may be none).

    ``output``: what must come out, logits of so many classes or pictures like those that go in; None: anything.

    Raises:
        ConfigError: a kernel does not fit its map, a stride meets a map of one pixel, or something else comes out. It names the layer,
            and the smallest image size that works where another size would.
    """
    try:
        passes = _attempt(build, in_channels, image_size)
    except Unfit as error:
        smallest = _smallest(build, in_channels, image_size)
        if smallest is None:
            raise _blocked(image_size, error) from error
        raise ConfigError(
            f"Images of {image_size}×{image_size} are too small for the model: {error}",
            where="model",
            fix=f"data.image_size={smallest}, the smallest that works",
        ) from error
    _check_outputs(passes, output, (2, in_channels, image_size, image_size))
    return shortened([remark for record in passes[0][1].records.values() for remark in record.remarks])


def shortened(remarks: list[str]) -> list[str]:
    """The first of the layers' remarks, and how many more there are."""
    return remarks[:1] + [f"so do {len(remarks) - 1} more layers"] * (len(remarks) > 1)


def _check_outputs(passes: _Passes, output: int | Literal["images"] | None, images: tuple[int, ...]) -> None:
    """Hold what came out of pictures of the shape ``images`` in evaluation and in training against what is to come."""
    (evaluated, _), (trained, _) = passes
    if output is not None:
        for found in [evaluated, *(trained if isinstance(trained, tuple | list) else [trained])]:
            _check_output(found, output, images)


def _check_output(found: Any, output: int | Literal["images"], images: tuple[int, ...]) -> None:
    count = images[0]
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if output == "images":
        if shape != images:
            raise ConfigError(
                f"For {count} images the model gives {shape}, not pictures like them, of shape {images}",
                where="model, objective",
                fix="objective=classification" if isinstance(found, Tensor) and found.dim() == 2 else "model=conv_autoencoder",
            )
    elif shape == images:
        raise ConfigError(
            f"For {count} images the model gives pictures, {shape}, not logits of shape {(count, output)}",
            where="model, objective",
            fix="objective=reconstruction",
        )
    elif shape != (count, output):
        raise ConfigError(
            f"For {count} images of {output} classes the model gives {shape}, not logits of shape {(count, output)}",
            where="model",
            fix="a model that ends in one number a class (its num_classes is given by the run)",
        )


def _attempt(build: Callable[[int], nn.Module], in_channels: int, image_size: int) -> _Passes:
    """Both passes at one size, on meta if the network can; raises Unfit."""
    try:
        return _both(_built(lambda: build_without_numbers(lambda: build(image_size))), in_channels, image_size, 2)
    except Unfit as error:
        if error.__cause__ is None:
            raise
    with torch.random.fork_rng(devices=[]):
        return _both(_built(lambda: build(image_size)).cpu(), in_channels, image_size, 2)


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    """The model, or Unfit if it cannot even be made (a dense layer without inputs); a ConfigError of its own passes."""
    try:
        return build()
    except ConfigError:
        raise
    except Exception as error:
        raise Unfit(f"it cannot be built: {(str(error) or type(error).__name__).splitlines()[0]}") from error


def _smallest(build: Callable[[int], nn.Module], in_channels: int, image_size: int) -> int | None:
    """The smallest image size above ``image_size`` that works: doubled until one does, then halved in between."""

    def works(size: int) -> bool:
        try:
            _attempt(build, in_channels, size)
        except (Unfit, ConfigError):
            return False
        return True

    low, high = image_size, min(2 * image_size, LARGEST)
    while not works(high):
        if high >= LARGEST:
            return None
        low, high = high, min(2 * high, LARGEST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
