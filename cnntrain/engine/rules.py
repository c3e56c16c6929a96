"""The shapes that the usual operations of a network give, for tensors without numbers (torch's ``meta`` device).

Torch knows them too, but in Python functions that import its compiler and sympy (1 to 3 s) on their first use, before every training.
Whatever is not here is left to torch, and costs that once.
"""

import contextlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnntrain.engine.window import Window

# The result is like the first argument.
_LIKE_FIRST = frozenset(
    "relu sigmoid tanh gelu silu elu selu celu leaky_relu hardswish hardtanh hardsigmoid mish softplus log_sigmoid_forward "
    "abs neg exp log sqrt rsqrt reciprocal square sign sin cos erf clamp clamp_min clamp_max _softmax _log_softmax clone bernoulli "
    "empty_like".split()
)
# The result is as large as all arguments together, broadcast.
_BROADCAST = frozenset("add sub rsub mul div maximum minimum pow".split())
_IN_PLACE = frozenset(f"{kind}_" for kind in _LIKE_FIRST | _BROADCAST)
# Operations in place that fill a tensor: with the two above, what an initialisation does.
_FILLING = frozenset("normal uniform fill zero copy random erfinv lerp exponential".split())
_TRUNCATED = nn.init._no_grad_trunc_normal_


def _normalised(args: Any) -> tuple[Tensor, ...]:
    """``native_batch_norm(input, weight, bias, running_mean, running_var, training, …)``: the output, mean and 1/std of the batch."""
    images, training = args[0], args[5]
    kept = images.new_empty(images.shape[1] if training else 0, dtype=torch.float32)
    return images.new_empty(images.shape), kept, kept.new_empty(kept.shape)


def _dropped(args: Any) -> tuple[Tensor, ...]:
    """``native_dropout(input, p, train)``: the output and what was kept."""
    return args[0].new_empty(args[0].shape), args[0].new_empty(args[0].shape, dtype=torch.bool)


def _product(args: Any) -> Tensor:
    """``addmm(bias, left, right)``, ``mm(left, right)``: (n, m) by (m, p) to (n, p)."""
    left, right = args[-2:]
    if left.shape[1] != right.shape[0]:
        raise RuntimeError(f"{left.shape[1]} inputs came where {right.shape[0]} were expected")
    return left.new_empty(left.shape[0], right.shape[1])


def _mean(args: Any) -> Tensor:
    """``mean(input, dim, keepdim)``, ``sum(input, dim, keepdim)``."""
    values, dims = args[0], [d % args[0].dim() for d in (args[1] or range(args[0].dim()))]
    keep = len(args) > 2 and args[2]
    return values.new_empty([1 if d in dims else n for d, n in enumerate(values.shape) if keep or d not in dims])


def _joined(args: Any) -> Tensor | None:
    """``cat(tensors, dim)``."""
    tensors, dim = args[0], (args[1] if len(args) > 1 else 0) % args[0][0].dim()
    shapes = [list(value.shape) for value in tensors]
    if any(len(s) != len(shapes[0]) or [*s[:dim], *s[dim + 1 :]] != [*shapes[0][:dim], *shapes[0][dim + 1 :]] for s in shapes):
        return None  # torch says what is wrong
    return tensors[0].new_empty([*shapes[0][:dim], sum(s[dim] for s in shapes), *shapes[0][dim + 1 :]])


def _mirrored(args: Any) -> Tensor | None:
    """``reflection_pad2d(input, (left, right, top, bottom))``."""
    images, (left, right, top, bottom) = args
    height, width = images.shape[-2:]
    if max(left, right) >= width or max(top, bottom) >= height:
        return None  # torch says what is wrong
    return images.new_empty([*images.shape[:-2], height + top + bottom, width + left + right])


_RULES: dict[str, Callable[[Any], Any]] = {
    "native_batch_norm": _normalised,
    "native_dropout": _dropped,
    "addmm": _product,
    "mm": _product,
    "cat": _joined,
    "reflection_pad2d": _mirrored,
}


class Numberless(TorchDispatchMode):
    """Makes operations on tensors without numbers by the rules of this file, where there is one."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch wraps the method below so that its first call imports the compiler

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer by a rule, or let torch."""
        return self.answer(func, args, kwargs, None)

    def answer(self, func: Any, args: Any, kwargs: Any, window: Window | None) -> Any:
        """The result of an operation with the window, if it has one."""
        made = outcome(func._schema.name.removeprefix("aten::"), args, kwargs, window)
        if made is not None:
            return made
        with without_dynamo():
            return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def unfilled() -> Iterator[None]:
    """Within, this thread leaves parameters as they come from memory while it builds a model: for a net of which only the shapes matter.

    (On the CPU, where memory that nobody writes costs nothing. Building it on ``meta`` would put there, for good, whatever tensors a
    module that is imported meanwhile makes for itself.)
    """
    # Methods laid over torch's, and no dispatch mode: that would be asked at every operation of a constructor, for most of its time.
    thread = threading.get_ident()

    def skipping(fill: Callable[..., Any]) -> Callable[..., Any]:
        def skip(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            here = threading.get_ident() == thread and isinstance(tensor, nn.Parameter)
            return tensor if here else fill(tensor, *args, **kwargs)

        return skip

    names = [f"{kind}_" for kind in _LIKE_FIRST | _BROADCAST | _FILLING if hasattr(Tensor, f"{kind}_")]
    for name in names:
        setattr(nn.Parameter, name, skipping(getattr(Tensor, name)))
    nn.init._no_grad_trunc_normal_ = skipping(_TRUNCATED)  # which draws again, by the numbers that it finds, until they are in range
    try:
        yield
    finally:
        for name in names:
            if name in vars(nn.Parameter):  # another thread, which built a model meanwhile, may have been first
                delattr(nn.Parameter, name)
        nn.init._no_grad_trunc_normal_ = _TRUNCATED


def outcome(name: str, args: Any, kwargs: Any, window: Window | None) -> Any:
    """The result of an operation on tensors without numbers (a tensor or a tuple of them), or None where torch must say."""
    first = args[0] if args else None
    if isinstance(first, list) and first and isinstance(first[0], Tensor):
        return _RULES[name](args) if name in _RULES and all(value.is_meta for value in first) else None
    if not isinstance(first, Tensor) or not first.is_meta:
        return None
    if name in _IN_PLACE:
        return first
    if not first.is_floating_point():
        return None
    if window and name != "im2col":
        return _windowed(name, args, window)
    if name in _RULES:
        return _RULES[name](args)
    if name in ("mean", "sum") and len(args) > 1:
        return _mean(args)
    if name in _LIKE_FIRST:
        return first.new_empty(first.shape)
    if name in _BROADCAST:
        # (numpy's, since torch.broadcast_shapes is one of those functions)
        shapes = {value.shape for value in args if isinstance(value, Tensor)}
        return first.new_empty(np.broadcast_shapes(*shapes) if len(shapes) > 1 else first.shape)
    return None


def _windowed(name: str, args: Any, window: Window) -> Any:
    """A convolution or pooling: the channels of the weight, and the size by the window's formula."""
    images, axes = args[0], len(window.kernel)
    if name == "convolution":
        weight, channels = args[1], images.shape[1]
        expected = weight.shape[0] if window.transposed else weight.shape[1] * window.groups
        if channels != expected:
            raise RuntimeError(f"{channels} channels came where {expected} were expected")
        channels = weight.shape[1] * window.groups if window.transposed else weight.shape[0]
        extra = args[7]
    else:
        channels, extra = images.shape[-axes - 1], [0] * axes
    if images.dim() != axes + 2 or (name != "convolution" and not name.startswith(("max_pool", "avg_pool"))):
        return None
    size = [window.size(axis, images.shape[2 + axis]) + (extra[axis] if window.transposed else 0) for axis in range(axes)]
    result = images.new_empty([images.shape[0], channels, *size])
    return (result, result.new_empty(result.shape, dtype=torch.int64)) if name.endswith("_with_indices") else result


@contextlib.contextmanager
def without_dynamo() -> Iterator[None]:
    """Spare one operation of torch the import of ``torch._dynamo`` (2 to 3 s), and leave no trace of that.

    Many operations on ``meta`` are Python functions marked "not to be compiled"; a mark imports the compiler on its first use, to ask it
    for a wrapper. Meanwhile the answer is the function itself; afterwards the marks are as they were. Nobody else's code runs within.
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    marked: list[Any] = []

    def disable(function: Any, *_: Any, **__: Any) -> Any:
        marked.append(function)
        return function

    stand_in = types.ModuleType("torch._dynamo")
    stand_in.disable = disable  # type: ignore[attr-defined]
    sys.modules["torch._dynamo"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torch._dynamo"]
        for function in marked:
            if hasattr(function, "__dynamo_disable"):
                del function.__dynamo_disable
