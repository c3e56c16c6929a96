"""When memory has run out: how many samples would have fitted, found out by trying, so that the error can say what works."""

import ctypes
import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnntrain.engine.inputs import Normalise
from cnntrain.engine.machine import first_line, is_out_of_memory
from cnntrain.engine.precision import Precision
from cnntrain.errors import OutOfMemoryError

_SPARE = 2  # numbers for each parameter, for an optimizer that has made none yet (Adam makes two)


@contextmanager
def telling_what_fits(
    model: nn.Module,
    objective: Any,
    precision: Precision,
    *,
    normalise: Normalise,
    shape: tuple[int, int, int],
    batch_size: int,
    command: str,
) -> Iterator[None]:
    """Training within the block that runs out of memory ends in an error that names the largest batch that fits (halves are tried).

    What the training held is let go first. The trial leaves the model's weights, buffers and flags and the generators as they are, and
    the optimizer; gradients are None afterwards. ``shape`` (C, H, W) is a picture's, ``command`` goes on with the run.

    Raises:
        OutOfMemoryError: in place of torch's own or Python's; nothing that goes wrong in the trial is told.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        text = first_line(error)
        evaluating = any(frame.f_code.co_name == "evaluate" for frame, _ in traceback.walk_tb(error.__traceback__))
        traceback.clear_frames(error.__traceback__)  # they hold the batch and all that was kept for the backward pass
        machine, trial = precision.machine, Trial(model, objective, precision, normalise=normalise, shape=shape, batch_size=batch_size)
        at_once = precision.microbatch or batch_size
        # An evaluation takes as many at once as a step, or more: so many may fit.
        fits = trial.largest(2 * at_once if evaluating else at_once)
        what = f"Out of memory on {machine.device} in {'evaluation' if evaluating else 'training'}"
        if fits is None:
            raise OutOfMemoryError(what, where=text, fix=f"{command} microbatch={max(at_once // 2, 1)}") from error
        if fits == 0:
            raise OutOfMemoryError(f"{what}: not even one sample fits", where=text, fix="a smaller model, or smaller images") from error
        norms = any(isinstance(part, _BatchNorm) for part in model.modules())
        note = f"batch norm then sees {fits} at a time" if norms else "the same result"
        raise OutOfMemoryError(
            f"{what}: the largest batch that fits is {fits}", where=text, fix=f"{command} microbatch={fits} ({note})"
        ) from error


class Trial:
    """Forward and backward passes of made-up samples, of which nothing is left."""

    def __init__(
        self, model: nn.Module, objective: Any, precision: Precision, *, normalise: Normalise, shape: tuple[int, int, int], batch_size: int
    ) -> None:
        self.model, self.objective, self.precision = model, objective, precision
        self.normalise, self.shape, self.batch_size, self.machine = normalise, shape, batch_size, precision.machine

    def largest(self, size: int) -> int | None:
        """The first of ``size`` / 2, / 4 … that fits; 0 if not even one sample does, None if that cannot be found out."""
        with suppress(Exception), self._untouched():
            odd = False  # an error that is not of memory, by its words: where little is left, libraries fail in many ways
            while size > 1:
                size //= 2
                self._release()
                try:
                    self._pass(size)
                    return size
                except (MemoryError, RuntimeError) as error:
                    traceback.clear_frames(error.__traceback__)
                    odd |= not is_out_of_memory(error) and size > 1  # from one sample alone batch norm may not be able to learn
            return None if odd else 0
        return None

    def _pass(self, size: int) -> None:
        """What a step of microbatches of ``size`` needs at its peak, but for the optimizer's own work."""
        optimizer = self.precision.optimizer
        new = [p for p in self.precision.parameters if p not in optimizer.state]
        spare = [torch.empty_like(p) for p in new for _ in range(_SPARE)]
        images = torch.zeros(self.batch_size, *self.shape, device=self.machine.device)  # as floats, which augmentation makes of them
        inputs = self.normalise(images)
        targets = self.objective.targets(torch.zeros(self.batch_size, dtype=torch.int64, device=self.machine.device))
        some = size + size // 4  # to spare: in the run that follows free memory lies in other pieces
        for part in (slice(some), slice(-some, None))[: self.batch_size // size]:  # the second adds its gradients to the first one's
            with self.machine.autocast():
                loss, _ = self.objective(self.model, inputs[part], targets[part])
            loss.backward()
        del spare, images

    def _release(self) -> None:
        """Give back what nobody holds any more."""
        self.precision.optimizer.zero_grad(set_to_none=True)
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()
        if sys.platform == "linux":
            with suppress(OSError, AttributeError):  # musl has none
                ctypes.CDLL(None).malloc_trim(0)

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        """Training mode within; buffers, flags and generators are afterwards what they were."""
        gc.collect()  # what the failed step left in cycles
        self._release()
        device = self.machine.device
        before: list[tuple[Tensor, Tensor]] = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        flags = [(module, module.training) for module in self.model.modules()]
        eagerly: AbstractContextManager[object] = nullcontext()
        if self.machine.compile:
            eagerly = torch.compiler.set_stance("force_eager")  # each size would cost a minute to compile
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), eagerly:
            self.model.train()
            try:
                yield
            finally:
                self._release()
                with torch.no_grad():
                    for buffer, value in before:
                        buffer.copy_(value)
                for module, training in flags:
                    module.training = training
