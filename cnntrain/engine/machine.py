"""The machine that trains: device, threads, precision, memory format, compilation, determinism."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from torch import nn

from cnntrain.engine.lean import avoid_dynamo
from cnntrain.errors import ConfigError, OutOfMemoryError
from cnntrain.units import Threads


class Machine:
    """One device and how it is used. Nothing is touched before :meth:`session`.

    ``compile`` is torch.compile's mode (true: its default). ``reduce-overhead`` records the kernels as CUDA graphs, which pays where they
    are so short that the host cannot launch them fast enough (on a CPU it is the default); ``max-autotune`` tries kernels out, for minutes,
    and records them, too. Each batch size is compiled as fixed: an epoch's smaller last batch costs one more compilation when it first
    comes (so do those of the evaluation), where one kernel for any size would be slower in every other step.

    Raises:
        ConfigError: this machine has no such device.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: Threads | None = None,
        precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32",
        channels_last: bool = True,
        compile: bool | Literal["default", "reduce-overhead", "max-autotune"] = False,
        deterministic: bool = False,
    ) -> None:
        self.device = find_device(device)
        self.threads, self.precision, self.deterministic = threads, precision, deterministic
        self.compile = "default" if compile is True else compile or None
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    @contextmanager
    def session(self, seed: int) -> Iterator[None]:
        """Set the process up for one run, and put it back afterwards.

        Raises:
            OutOfMemoryError: in place of torch's own.
        """
        before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
        cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
        if not self.compile:
            avoid_dynamo()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when the device is first used
        _use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = not self.deterministic
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"  # for convolutions, which the line before does not reach
        torch.manual_seed(seed)
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"Out of memory on {self.device}", where=first_line(error), fix="microbatch=32 (same result in less memory)"
            ) from error
        finally:
            if self.compile:
                torch.compiler.reset()  # torch compiles one code only so often: a sweep's later jobs would run as they are
            torch.set_num_threads(before[0])
            _use_deterministic_algorithms(before[1])
            torch.set_float32_matmul_precision(before[2])
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = cudnn

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision where it was asked for (fp16 and bf16), nothing otherwise."""
        if self.precision in ("fp32", "tf32"):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16 if self.precision == "bf16" else torch.float16)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory format, compiled in place if asked for (names stay as they are)."""
        model = model.to(self.device).to(memory_format=self.memory_format)
        if self.compile:
            model.compile(mode=self.compile, dynamic=False)
        return model

    def describe(self) -> str:
        """One line for the user: what this run uses."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"{torch.get_num_threads()} threads"
        layout = "channels_last" if self.memory_format == torch.channels_last else "contiguous"
        words = [f"{self.device} ({name})", self.precision, layout, *([f"compiled ({self.compile})"] if self.compile else [])]
        return " · ".join(words + (["deterministic"] if self.deterministic else []))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: Python's, or one of torch's, of any device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search(r"out of memory|allocate memory|ALLOC_FAILED|bad_alloc", str(error)) is not None
    )


def first_line(error: BaseException) -> str:
    """What an error says, in short; Python's MemoryError says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _use_deterministic_algorithms(wanted: bool) -> None:
    """As torch's function, which imports the compiler (3 s), but only where something changes."""
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)


def find_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: it is unknown or this machine lacks it.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    kind, _, index = name.partition(":")
    if kind not in has or (index and not index.isdecimal()) or (kind != "cuda" and index not in ("", "0")):
        raise ConfigError(f"{name!r} is not a device", where="machine.device", fix="machine.device=auto, cpu, cuda, cuda:1 or mps")
    if not has[kind]:
        raise ConfigError(f"There is no {kind.upper()} device on this machine", where="machine.device", fix="machine.device=cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise ConfigError(
            f"There are {torch.cuda.device_count()} CUDA devices, numbered from 0", where="machine.device", fix="machine.device=cuda:0"
        )
    return torch.device(kind, int(index)) if kind == "cuda" and index else torch.device(kind)
