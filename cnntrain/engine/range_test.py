"""The learning rate range test (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, section 3.3).

A copy of the network is trained for a few hundred steps while the learning rate rises; where the loss starts to fall and where it
stops falling bound a good learning rate. The paper raises it linearly and reads off accuracy by eye; here it rises exponentially unless
told otherwise (so that one test covers every optimizer), the training loss is read, and the eye is replaced by rules.
"""

import copy
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from cnntrain.engine.machine import Machine
from cnntrain.engine.precision import Precision
from cnntrain.errors import ConfigError, DivergedError

Scale = Literal["exponential", "linear"]
# The schedules touch their peak (``optimizer.lr``) only briefly, and Smith's upper bound is that peak. A small check: LeNet-5 on digits,
# 10 epochs of one triangle, one seed, 144 validation pictures. SGD: max_lr 98.6 %, steepest 97.2 (two pictures less), valley 93.1.
# AdamW: max_lr 97.2, the others at most 92.4; three times max_lr was better still (99.3), for SGD worse (96.5).
RECOMMENDED = "max_lr"
# What each rule looks for, for the table.
RULES = {
    "steepest": "the loss falls fastest",
    "valley": "half-way down its longest fall",
    "minimum/10": "a tenth of where it is lowest",
    "base_lr": "Smith: it starts to fall",
    "max_lr": "Smith: it slows, gets ragged or rises",
}


@dataclass(frozen=True)
class RangeTest:
    """What a test saw: a learning rate and a loss a step, ``smoothed`` (see :func:`smooth`), and what each rule makes of it."""

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    ended: str
    suggestions: dict[str, float] = field(default_factory=dict)
    rule: str = RECOMMENDED

    @property
    def suggestion(self) -> float:
        """The recommended learning rate.

        Raises:
            ConfigError: the loss never fell, so that no rule applies.
        """
        if self.rule not in self.suggestions:
            raise ConfigError(
                f"The range test found no learning rate between {self.lrs[0]:.2g} and {self.lrs[-1]:.2g}: the loss never fell",
                where="optimizer.lr",
                fix="give a number, such as optimizer.lr=0.01, or look at cnntrain lr_find start=1e-8 epochs=3",
            )
        return self.suggestions[self.rule]


def range_test(
    *,
    model: nn.Module,
    groups: list[dict[str, Any]],
    make_optimizer: Callable[..., torch.optim.Optimizer],
    batches: Iterable[tuple[Tensor, Tensor]],
    objective: Any,
    machine: Machine,
    start: float,
    end: float,
    steps: int,
    scale: Scale = "exponential",
    smoothing: float = 0.9,
    explosion: float = 4.0,
    clip: float | None = None,
    microbatch: int | None = None,
    seed: int = 0,
    on_step: Callable[[int, float, float], object] | None = None,
) -> RangeTest:
    """Train copies of model and objective, raising the learning rate from ``start`` to ``end``.

    The given model (weights, buffers, flags, gradients), objective and the process's generators are left as they are, to the bit.

    Args:
        model: on the device.
        groups: the model's parameter groups, ``{"params": …, "lr_scale": …}``.
        make_optimizer: called with ``params=`` the copy's groups.
        batches: inputs as the model sees them, and targets (B,K); one batch a step.
        objective: as in training.
        machine: precision and device.
        start: first learning rate.
        end: last one, unless the test ends earlier.
        steps: how many, two at least.
        scale: how the learning rate rises.
        smoothing: weight of the past in the exponential mean of the loss.
        explosion: the test ends when the smoothed loss is over this multiple of its least.
        clip: as in training.
        microbatch: as in training.
        seed: of what the network draws (dropout).
        on_step: called after each step with its number, learning rate and smoothed loss; what it raises ends the test.
    """
    lrs = learning_rates(start, end, steps, scale)
    losses: list[float] = []
    ended = f"all {steps} steps were made"
    with _untouched(machine.device, seed):
        network, owner = _copy(model, groups)
        goal = copy.deepcopy(objective)
        network.train()
        precision = Precision(make_optimizer(params=owner), machine=machine, clip=clip, microbatch=microbatch)
        mean, least = 0.0, math.inf
        for step, (lr, (inputs, targets)) in enumerate(zip(lrs, batches, strict=False)):
            for group in precision.optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]
            stats = precision.backward(goal, network, inputs, targets)
            loss = float(stats["loss_sum"]) / int(stats["count"])
            if not math.isfinite(loss):
                ended = f"the loss was {loss} at {lr:.2g}"
                break
            losses.append(loss)
            mean = smoothing * mean + (1 - smoothing) * loss
            now = mean / (1 - smoothing ** (step + 1))
            least = min(least, now)
            if on_step:
                on_step(step, lr, now)
            if step >= 10 and now > explosion * least:
                ended = f"the loss exploded at {lr:.2g}"
                break
            try:
                precision.step(step)
            except DivergedError:
                ended = f"a gradient was not finite at {lr:.2g}"
                break
    if not losses:
        raise ConfigError("The range test saw no finite loss", where="start", fix=f"start={start / 100:.0e}")
    done = lrs[: len(losses)]
    smoothed = smooth(losses, smoothing)
    return RangeTest(done, losses, smoothed, ended, suggest(done, losses, smoothed))


def learning_rates(start: float, end: float, steps: int, scale: Scale) -> list[float]:
    """The learning rate of every step: equal ratios (exponential) or equal differences (linear).

    Raises:
        ConfigError: the range is empty.
    """
    if not 0 < start < end:
        raise ConfigError(f"The test cannot rise from {start:g} to {end:g}", where="start, end", fix=f"end={max(start, 1e-6) * 1e6:g}")
    share = [step / max(steps - 1, 1) for step in range(steps)]
    if scale == "linear":
        return [start + (end - start) * x for x in share]
    return [start * (end / start) ** x for x in share]


def smooth(losses: list[float], smoothing: float) -> list[float]:
    """The loss as the rules read it: an exponential mean, forwards and then backwards, so that it does not lag behind.

    Both are corrected for their start (Kingma & Ba 2015, section 3), and losses are cut off at twice the first ones, since how badly it
    explodes in the end says nothing of what came before.
    """
    limit = 2 * max(float(np.median(losses[:10])), min(losses))
    return _mean(_mean([min(loss, limit) for loss in losses], smoothing)[::-1], smoothing)[::-1]


def _mean(values: list[float], smoothing: float) -> list[float]:
    """The bias-corrected exponential mean of a series."""
    mean, means = 0.0, []
    for step, value in enumerate(values):
        mean = smoothing * mean + (1 - smoothing) * value
        means.append(mean / (1 - smoothing ** (step + 1)))
    return means


def suggest(lrs: list[float], losses: list[float], smoothed: list[float]) -> dict[str, float]:
    """What each rule of :data:`RULES` suggests; nothing if the loss fell by less than its own noise.

    Steepest and valley are known from fastai (Howard & Gugger 2020), a tenth of the minimum from practice; the bounds are Smith's,
    put in numbers: the loss has made a tenth of its fall; and, past the steepest place, it falls at less than a tenth of that slope, or
    its noise is over a fifth of the fall.
    """
    if len(lrs) < 10:
        return {}
    x, y = np.log(lrs), np.array(smoothed)
    noise = np.abs(np.array(losses) - y)
    lowest = int(y.argmin())
    first = float(y[: max(len(y) // 20, 1)].mean())
    if lowest < 3 or first - y[lowest] < 2 * float(np.median(noise)) / math.sqrt(10) or y[lowest] > 0.98 * first:
        return {}
    fall = first - y[lowest]
    slope = np.gradient(y, x)
    begins = int(np.argmax(y <= first - 0.1 * fall))
    steepest = begins + int(slope[begins : lowest + 1].argmin())
    window = max(len(y) // 20, 5)
    ragged = np.convolve(noise, np.ones(window) / window, mode="same") > 0.2 * fall
    slow = slope > 0.1 * slope[steepest]
    ends = next((i for i in range(steepest + 1, lowest) if slow[i] or ragged[i]), lowest)
    head, tail = (begins + index for index in longest_fall(smoothed[begins : lowest + 1]))
    found = {"steepest": steepest, "valley": (head + tail) // 2, "base_lr": begins, "max_lr": ends}
    rates = {name: lrs[index] for name, index in found.items()} | {"minimum/10": lrs[lowest] / 10}
    return {name: round_to(rates[name], 2) for name in RULES}


def longest_fall(values: list[float]) -> tuple[int, int]:
    """First and last index of a longest strictly falling subsequence (patience sorting, n log n)."""
    ends: list[float] = []  # the negated last value of the best fall of each length
    last: list[int] = []
    before: list[int | None] = []
    for i, value in enumerate(values):
        length = bisect_left(ends, -value)
        ends[length:] = [-value, *ends[length + 1 :]]
        last[length:] = [i, *last[length + 1 :]]
        before.append(last[length - 1] if length else None)
    head = tail = last[-1]
    while (previous := before[head]) is not None:
        head = previous
    return head, tail


def round_to(value: float, digits: int) -> float:
    """A number to so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def _copy(model: nn.Module, groups: list[dict[str, Any]]) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of a model, and its groups with the copy's parameters."""
    network = copy.deepcopy(model)
    network.zero_grad(set_to_none=True)
    twin = {id(mine): theirs for mine, theirs in zip(model.parameters(), network.parameters(), strict=True)}
    return network, [{**group, "params": [twin[id(p)] for p in group["params"]]} for group in groups]


@contextmanager
def _untouched(device: torch.device, seed: int) -> Iterator[None]:
    """Draw from ``seed`` within, and put every global generator back afterwards."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
