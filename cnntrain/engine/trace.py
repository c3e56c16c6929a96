"""One pass through a network without arithmetic: what every layer does to its input.

The network is copied onto torch's ``meta`` device, where tensors have shapes but no numbers, so that nothing of the given network (weights,
batch-norm buffers, training flags) and no generator is touched, and a ResNet-152 takes as long as its Python code. (One that was built for
the pass needs no copy, which takes half as long as the pass: :func:`on_meta`.) Every tensor operation is seen on its way (a dispatch mode),
those of ``torch.nn.functional`` too; forward hooks tell which layer it is in.

Receptive field: a kernel of F at dilation d widens it by d(F−1) times the product of all strides before it (Araujo et al. 2019, Distill,
doi:10.23915/distill.00021); where branches meet, the widest counts. Multiply-adds: one product and its addition are one.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from cnntrain.engine.rules import Numberless, unfilled
from cnntrain.engine.window import Depthwise, Field, Window, reduction, whole_map, window_of


class Unfit(Exception):
    """The pass ended in a layer that cannot take its input. ``str()`` says which, and why."""


@dataclass
class Record:
    """What one layer did in one pass (all its calls together)."""

    module: nn.Module
    name: str
    window: Window | None = None
    output: tuple[int, ...] = ()
    receptive_field: tuple[int, int] | None = None
    multiply_adds: int = 0
    dense_multiply_adds: int = 0
    saved_bytes: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The layer's name, class and geometry, for messages."""
        words = f" {self.window}" if self.window else ""
        return f"{self.name or 'the model'} ({type(self.module).__name__}{words})"


class Trace(Numberless):
    """Sees every tensor operation of a pass and books it on the layer that is running. Use :func:`trace`."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        self._batch = len(images)
        self._stack = [self._record("", model)]
        self._own = {_storage(value) for value in [*model.parameters(), *model.buffers()]}
        self._kept: list[Tensor] = [images]  # so that no storage's address is given out twice within a pass
        self._fields: dict[tuple[object, ...], Field] = {_key(images): Field((1, 1), (1, 1), (images.shape[-2], images.shape[-1]))}
        self._saved: set[int] = set()

    def _record(self, name: str, module: nn.Module) -> Record:
        if name not in self.records:
            self.records[name] = Record(module, name)
        return self.records[name]

    @property
    def current(self) -> Record:
        """The layer that is running."""
        return self._stack[-1]

    @contextlib.contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Follow which module of the model is running."""
        # One pair of hooks for all modules there are: two for each of the model's took a tenth of the time of a thousand layers.
        names = {module: name for name, module in model.named_modules()}

        def enter(module: nn.Module, _: Any) -> None:
            if module is not model and module in names:
                self._stack.append(self._record(names[module], module))

        def leave(module: nn.Module, _: Any, output: Any) -> None:
            if module in names:
                self._leave(output)

        hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _leave(self, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor):
            self.current.output = tuple(first.shape)
            seen = self._fields.get(_key(first))
            self.current.receptive_field = (math.ceil(seen.size[0]), math.ceil(seen.size[1])) if seen else None
        if len(self._stack) > 1:
            self._stack.pop()

    def keep(self, saved: Tensor) -> Tensor:
        """Book a tensor that autograd keeps for the backward pass (each storage once, weights not)."""
        key = _storage(saved)
        if key not in self._saved and key not in self._own:
            self._saved.add(key)
            self._kept.append(saved)
            self.current.saved_bytes += saved.untyped_storage().nbytes()
        return saved

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check what is about to happen, let it happen, and book it."""
        name = func._schema.name.removeprefix("aten::")
        window = window_of(name, args)
        if window:
            self._check(window, args[0])
        output = self.answer(func, args, kwargs, window)
        result = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(result, Tensor):
            self._book(name, args, window, result)
        return output

    def _check(self, window: Window, images: Tensor) -> None:
        """Raise Unfit if the window does not fit the map, or strides over a map of one pixel."""
        self.current.window = window
        size = tuple(images.shape[-len(window.kernel) :])
        shown = "×".join(str(n) for n in size)
        if not window.fits(size):
            raise Unfit(f"layer {self.current.title} gets a {shown} map, which is smaller than its kernel")
        if window.strides_over_nothing(size):
            raise Unfit(f"layer {self.current.title} gets a {shown} map: nothing is left to stride over")
        if max(size) == 1 and max(window.kernel) > 1 and not window.transposed:
            self.current.remarks.append(f"layer {self.current.title} gets a 1×1 map: all but the kernel's middle sees padding")

    def _book(self, name: str, args: Any, window: Window | None, result: Tensor) -> None:
        per_sample = round(multiply_adds(name, args, result) / self._batch)
        seen = self._merge(args)
        if per_sample:
            self.current.multiply_adds += per_sample
            self.current.dense_multiply_adds += self._dense(per_sample, window, args, seen)
        if seen is None:
            return
        if window:
            after = window.widen(seen, tuple(result.shape[2:]))
            if name == "convolution" and window.is_depthwise(args[1]):
                after.depthwise = Depthwise(self.current, per_sample, window)
        elif result.dim() >= 4:
            after = reduction(name, args, seen, (result.shape[-2], result.shape[-1]))
        else:
            after = whole_map(seen) if result.dim() <= 2 else seen
        self._kept.append(result)
        self._fields[_key(result)] = after

    def _merge(self, args: Any) -> Field | None:
        """The widest of the fields of an operation's inputs."""
        flat = [part for value in args for part in (value if isinstance(value, tuple | list) else [value]) if isinstance(part, Tensor)]
        known = [seen for seen in map(self._fields.get, map(_key, flat)) if seen is not None]
        return Field.widest(known) if known else None

    def _dense(self, count: int, window: Window | None, args: Any, seen: Field | None) -> int:
        """What a dense convolution in this one's place would take (SPEC L4, L6).

        A 1×1 convolution on the output of a depthwise one stands with it for one dense convolution D → K of that kernel:
        H·W·D·K·F²; a grouped one alone for the same without groups.
        """
        if window is None or window.transposed:
            return count
        before = seen.depthwise if seen else None
        if before and not before.paired and math.prod(window.kernel) == 1 and window.groups == 1:
            before.paired = True
            before.record.dense_multiply_adds -= before.multiply_adds * before.window.groups
            multiplier = args[1].shape[1] // before.window.groups
            return count * math.prod(before.window.kernel) // multiplier
        return count * window.groups


def multiply_adds(name: str, args: Any, result: Tensor) -> int:
    """Multiply-adds of one tensor operation over the whole batch; 0 for all that is no product of tensors."""
    if name == "convolution":
        images, weight, transposed = args[0], args[1], args[6]
        return (images if transposed else result).numel() * weight.shape[1] * math.prod(weight.shape[2:])
    if name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "linear"):
        left = args[1] if name.startswith(("addm", "badd")) else args[0]
        return result.numel() * left.shape[-1]
    if "scaled_dot_product" in name:
        query, keys, values = args[:3]
        return query.shape[:-1].numel() * keys.shape[-2] * (query.shape[-1] + values.shape[-1])
    return 0


def trace(model: nn.Module, images: Tensor, *, training: bool) -> tuple[Any, Trace]:
    """Run the pass on a *copy* of a model made for it (see :func:`meta_copy`); returns the model's output and what was seen.

    Raises:
        Unfit: a layer cannot take its input.
    """
    model.train(training)
    seen = Trace(model, images)
    # Gradients stay on: what autograd saves is what training keeps in memory, and attention takes no inference-only shortcut.
    keeping = torch.autograd.graph.saved_tensors_hooks(seen.keep, lambda saved: saved) if training else contextlib.nullcontext()
    with _no_draws(), torch.enable_grad(), keeping, seen.watch(model), seen:
        try:
            return model(images), seen
        except Unfit:
            raise
        except Exception as error:  # a network may be anyone's, and fail in any way
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise Unfit(f"layer {seen.current.title} fails: {reason}") from error


def meta_copy(model: nn.Module, device: str = "meta") -> nn.Module:
    """A copy of a model, for a pass: of its structure alone on ``meta``, without its weights' memory."""
    memo: dict[int, Any] = {}
    if device == "meta":
        memo = {id(value): _numberless(value) for value in [*model.parameters(), *model.buffers()]}
    return copy.deepcopy(model, memo).to(device)


@contextlib.contextmanager
def on_meta(model: nn.Module) -> Iterator[nn.Module]:
    """Within, a model's parameters and buffers are on ``meta``, in the model itself; afterwards they are those that it had.

    A pass may leave its marks in the model's other attributes and flags: for one that nobody else has.
    """
    held = _to_meta(model)
    try:
        yield model
    finally:
        for place, name, value in held:
            place[name] = value


def _to_meta(model: nn.Module) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Put numberless tensors in the place of a model's own; returns those, each with the dict that it was in, and its name there."""
    held: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in model.modules():
        places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for place in places:
            for name, value in place.items():
                if value is not None:
                    held.append((place, name, value))
                    place[name] = _numberless(value)
    return held


def _numberless(value: Tensor) -> Tensor:
    empty = torch.empty(value.shape, dtype=value.dtype, device="meta")
    return nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty


def build_unfilled(build: Callable[[], nn.Module]) -> nn.Module:
    """A model with whatever lay in its memory: neither the time that its initialisation takes, nor draws from a generator."""
    with _no_draws(), unfilled():
        return build()


def build_without_numbers(build: Callable[[], nn.Module]) -> nn.Module:
    """The same on ``meta``."""
    model = build_unfilled(build)
    _to_meta(model)
    return model


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata


def _key(value: Tensor) -> tuple[object, ...]:
    """What tells one map from another: a view of other shape is another map, the result of an in-place activation the same."""
    return _storage(value), value.shape


@contextlib.contextmanager
def _no_draws() -> Iterator[None]:
    """Leave the CPU's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        yield
