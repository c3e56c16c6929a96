"""The geometry of what slides over a map (convolution, pooling, im2col), and what a pixel of its output has seen of the image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Depthwise:
    """A depthwise convolution that still waits for the 1×1 convolution that it stands with: who did it, its multiply-adds, its window."""

    record: Any
    multiply_adds: int
    window: "Window"
    paired: bool = False


@dataclass
class Field:
    """What one pixel of a map has seen: its receptive field and the distance between neighbours, in pixels of the image (height, width)."""

    size: tuple[float, float]
    jump: tuple[float, float]
    map: tuple[int, int]
    depthwise: "Depthwise | None" = None  # the convolution that this map comes from, with nothing but activations and the like between

    @classmethod
    def widest(cls, fields: "Sequence[Field]") -> "Field":
        """The field where branches meet."""
        if all(f is fields[0] for f in fields):
            return fields[0]
        first = next((f for f in fields if f.depthwise), fields[0])
        height, width = (max(f.size[axis] for f in fields) for axis in (0, 1))
        down, right = (max(f.jump[axis] for f in fields) for axis in (0, 1))
        return cls((height, width), (down, right), max((f.map for f in fields), key=math.prod), first.depthwise)


@dataclass(frozen=True)
class Window:
    """A sliding window: one number an axis in each tuple."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    ceil: bool = False

    def __str__(self) -> str:
        words = "×".join(str(n) for n in self.kernel)
        for name, values in self._settings:
            if any(value != (0 if name == "padding" else 1) for value in values):
                words += f", {name} " + ("×".join(str(n) for n in values) if len(set(values)) > 1 else str(values[0]))
        return words + (f", {self.groups} groups" if self.groups > 1 else "")

    @property
    def short(self) -> str:
        """The same for a table: "3×3/2", "3×3 d2", "3×3 g32"."""
        axes = {name: "×".join(str(n) for n in (values if len(set(values)) > 1 else values[:1])) for name, values in self._settings}
        words = "×".join(str(n) for n in self.kernel) + (f"/{axes['stride']}" if max(self.stride) > 1 else "")
        return words + (f" d{axes['dilation']}" if max(self.dilation) > 1 else "") + (f" g{self.groups}" if self.groups > 1 else "")

    @property
    def _settings(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return ("stride", self.stride), ("padding", self.padding), ("dilation", self.dilation)

    def fits(self, size: tuple[int, ...]) -> bool:
        """Whether the (dilated) kernel fits the padded map: W + 2P ≥ d(F−1) + 1 (SPEC L2, L14)."""
        if self.transposed or self.ceil:
            return True  # there is always room to spread; rounding up is judged by torch
        spans = (d * (f - 1) + 1 for f, d in zip(self.kernel, self.dilation, strict=True))
        return all(span <= n + 2 * p for span, n, p in zip(spans, size, self.padding, strict=True))

    def strides_over_nothing(self, size: tuple[int, ...]) -> bool:
        """Whether an axis that is to shrink has one pixel left."""
        return not self.transposed and any(s > 1 and n == 1 for s, n in zip(self.stride, size, strict=True))

    def is_depthwise(self, weight: Tensor) -> bool:
        """Whether it is a convolution of each channel by itself."""
        return not self.transposed and self.groups > 1 and weight.shape[1] == 1

    def widen(self, seen: Field, after: tuple[int, ...]) -> Field:
        """The field of the output: r + d(F−1)·j and j·S, by height and width (1-D windows have a height of 1)."""
        axes = list(zip(self.kernel, self.stride, self.dilation, strict=True))[-2:]
        axes = [(1, 1, 1)] * (2 - len(axes)) + axes
        sizes, jumps = [], []
        for axis, (kernel, stride, dilation) in enumerate(axes):
            if self.transposed:  # each output pixel gathers from ceil(F/S) inputs, which lie S output pixels apart
                sizes.append(seen.size[axis] + (math.ceil(kernel / stride) - 1) * dilation * seen.jump[axis])
                jumps.append(seen.jump[axis] / stride)
            else:
                sizes.append(seen.size[axis] + (kernel - 1) * dilation * seen.jump[axis])
                jumps.append(seen.jump[axis] * stride)
        size = after if len(after) == 2 else tuple(self.size(axis, n) for axis, n in enumerate(seen.map))
        return Field((sizes[0], sizes[1]), (jumps[0], jumps[1]), (size[0], size[1]))

    def size(self, axis: int, size: int) -> int:
        """The output's size along an axis: floor((W − d(F−1) − 1 + 2P) / S) + 1 (SPEC L2), or (W − 1)S − 2P + d(F−1) + 1."""
        axis = min(axis, len(self.kernel) - 1)
        span, stride, padding = self.dilation[axis] * (self.kernel[axis] - 1) + 1, self.stride[axis], self.padding[axis]
        if self.transposed:
            return (size - 1) * stride - 2 * padding + span
        after = (size + 2 * padding - span + (stride - 1 if self.ceil else 0)) // stride + 1
        if self.ceil and (after - 1) * stride >= size + padding:
            after -= 1  # no window begins in the padding on the right
        return after


def window_of(name: str, args: Any) -> Window | None:
    """The window of a tensor operation (its schema's name and arguments), or None for one without."""
    if name == "convolution":
        _, weight, _, stride, padding, dilation, transposed, _, groups = args
        return _window(weight.shape[2:], stride, padding, dilation, groups=groups, transposed=transposed)
    if not name.startswith(("max_pool", "avg_pool", "im2col")):
        return None
    kind = name.removesuffix("_with_indices")
    at = dict(enumerate(args))
    if kind in ("max_pool2d", "max_pool3d"):
        return _window(args[1], at.get(2) or args[1], at.get(3, 0), at.get(4, 1), ceil=at.get(5, False))
    if kind in ("avg_pool1d", "avg_pool2d", "avg_pool3d"):
        return _window(args[1], at.get(2) or args[1], at.get(3, 0), 1, ceil=at.get(4, False))
    if kind == "im2col":
        return _window(args[1], args[4], args[3], args[2])
    return None


def _window(
    kernel: Any, stride: Any, padding: Any, dilation: Any, *, groups: int = 1, transposed: bool = False, ceil: bool = False
) -> Window:
    """Every value as one number an axis."""
    axes = len(kernel)
    spread = [
        (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)
        for value in (kernel, stride, padding, dilation)
    ]
    return Window(spread[0], spread[1], spread[2], spread[3], groups, transposed, ceil)


def whole_map(seen: Field) -> Field:
    """The field of what has seen every pixel of a map."""
    sizes = [seen.size[axis] + (seen.map[axis] - 1) * seen.jump[axis] for axis in (0, 1)]
    return Field((sizes[0], sizes[1]), seen.jump, (1, 1))


def reduction(name: str, args: Any, seen: Field, after: tuple[int, int]) -> Field:
    """The field after an operation without a window, whose output is a map of size ``after``.

    Means, sums, maxima and adaptive pooling see a whole cell of the map; resizing and strided slices change the distance between
    neighbours; all else (activations, sums of branches, padding) changes nothing.
    """
    kind = name.lstrip("_")
    reduces = kind.startswith(("mean", "sum", "amax", "max", "adaptive", "linalg", "norm"))
    if after == seen.map or not (reduces or kind.startswith(("upsample", "slice", "constant_pad", "reflection_pad", "replication_pad"))):
        return seen
    size, jump = list(seen.size), list(seen.jump)
    for axis in (0, 1):
        ratio = seen.map[axis] / after[axis]
        if reduces:
            size[axis] += (math.ceil(ratio) - 1) * jump[axis]
            jump[axis] *= ratio
        elif kind.startswith("upsample"):
            jump[axis] *= ratio
        elif kind == "slice" and len(args) > 4 and args[1] == args[0].dim() - 2 + axis:
            jump[axis] *= args[4]
    return Field((size[0], size[1]), (jump[0], jump[1]), after)
