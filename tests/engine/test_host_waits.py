"""A step on an accelerator must not make the host wait: no number is read back, and no copy between devices is a blocking one.

The device ``meta`` stands for the accelerator: it computes nothing, so that reading a number from it is an error, and it has no generators
or kernels of its own that could hide a copy. That copies come from pinned memory can be seen on CUDA alone.
"""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from workload import BATCH, CLASSES, SAMPLES, Net, make_split

from cnntrain.augment.color import Color
from cnntrain.augment.crop import Crop
from cnntrain.augment.cutmix import CutMix
from cnntrain.augment.cutout import Cutout
from cnntrain.augment.flip import Flip
from cnntrain.augment.mixup import Mixup
from cnntrain.augment.noise import Noise
from cnntrain.augment.rotate import Rotate
from cnntrain.augment.shift import Shift
from cnntrain.data.split import Split
from cnntrain.draws import Draws
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.average import NoAverage
from cnntrain.engine.clock import Clock
from cnntrain.engine.inputs import Normalise, TrainBatches
from cnntrain.engine.loop import fit
from cnntrain.engine.machine import Machine
from cnntrain.engine.precision import Precision
from cnntrain.engine.report import Report
from cnntrain.engine.run import Run
from cnntrain.engine.saving import Saving
from cnntrain.engine.signals import Signals
from cnntrain.engine.state import State
from cnntrain.engine.stopping import stopping
from cnntrain.loss.cross_entropy import CrossEntropy
from cnntrain.objective.classification import Classification

META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Notes what would make the host wait for the device."""

    def __init__(self):
        super().__init__()
        self.on, self.found = False, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.on:
            flat = torch.utils._pytree.tree_leaves((args, kwargs))
            devices = {x.device.type for x in flat if isinstance(x, torch.Tensor) and (x.dim() or x.device.type == "meta")}
            name = func.overloadpacket.__name__
            target = torch.device(kwargs.get("device") or next(iter(devices), "cpu")).type
            if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal") and "meta" in devices:
                self.found.append(name)
            elif name == "_to_copy" and {target} != devices and not kwargs.get("non_blocking"):
                self.found.append(f"_to_copy {devices} → {target}")
            elif name == "copy_" and len(devices) > 1 and not (kwargs.get("non_blocking") or True in args[2:]):
                self.found.append("copy_")
            elif name not in ("_to_copy", "copy_") and len(devices) > 1:
                self.found.append(f"{name} of {devices}")
        return func(*args, **kwargs)


class MadeOfNumbers(TorchFunctionMode):
    """Tells ``waits`` of tensors that are made of Python numbers on the device: a blocking copy, which is hidden from the other mode."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.waits.on and func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == META:
            self.waits.found.append(func.__name__)
        return func(*args, **kwargs)


class Fused(torch.optim.SGD):
    """Takes ``found_inf``, as the fused kernels of CUDA do."""

    def step(self, closure=None):
        del self.found_inf
        return super().step(closure)


class Enough(Exception):
    pass


def step_on_meta(folder, operations, *, culprit=None):
    """Steps 3 to 6 of an epoch, on meta; returns what made the host wait in them."""
    machine = Machine(device="cpu", threads=1)
    machine.device = META
    waits = Waits()
    split = make_split(SAMPLES, 1)
    split = Split(split.images.repeat(1, 2, 1, 1)[:, :3].contiguous(), split.labels)
    clock = Clock(num_samples=SAMPLES, batch_size=BATCH, epochs=1)
    draws = Draws(0, SAMPLES, META)
    model = Net()
    model.conv = torch.nn.Conv2d(3, 6, 3, padding=1, bias=False)
    model = model.to(META)
    optimizer = Fused([{"params": list(model.parameters()), "lr_scale": 1.0}], lr=0.1, momentum=0.9)
    stepper = Precision(optimizer, machine=machine, clip=1.0, microbatch=5)
    stepper._skips_on_device = True  # as on CUDA, where the fused kernel leaves out a step that is not finite
    judge = stopping(larger_is_better=True)
    state = State(model=model, optimizer=stepper.optimizer, average=NoAverage(model=model), scaler=stepper.scaler, judge=judge,
                  means=Classification.means)  # fmt: skip
    goal = Classification(loss=CrossEntropy(class_counts=[1] * CLASSES, smoothing=0.1), num_classes=CLASSES)
    work = Augmentation(operations)

    def schedule(step):
        waits.on = 2 <= step < 6
        if step == 6:
            raise Enough
        if culprit is not None and waits.on:
            culprit(model)
        return {"lr": 0.1}

    with Run(folder, config={}) as run, Signals() as signals, MadeOfNumbers(waits), waits, pytest.raises(Enough):
        fit(
            state, train=TrainBatches(split.to(META), clock, draws, work), validate=lambda judged: None, augmentation=work,
            draws=draws, normalise=Normalise([0.5] * 3, [0.5] * 3, device=META, memory_format=torch.channels_last), objective=goal,
            schedule=schedule, precision=stepper, clock=clock, evaluate_every=1,
            report=Report(run=run, clock=clock, schedule=schedule, every="100it", tensorboard=False, progress="off"),
            saving=Saving(run=run, clock=clock, facts={}), signals=signals,
        )  # fmt: skip
    return waits.found


OPERATIONS = [
    [],
    [Crop(padding=1), Flip()],
    [Crop(padding=1, mode="reflect"), Shift(pixels=1), Cutout(size=3)],
    [Rotate(), Color(hue=0.1), Noise(), Cutout(size=3, fill="mean")],
    [Mixup(), CutMix(p=1.0)],
]


@pytest.mark.parametrize("operations", OPERATIONS, ids=lambda operations: "+".join(type(operation).__name__ for operation in operations))
def test_no_step_waits_for_the_device(tmp_path, operations):
    assert step_on_meta(tmp_path, operations) == []


def test_nor_where_the_pixels_stay_on_the_host(tmp_path, monkeypatch):
    monkeypatch.setattr(Split, "_fits", lambda self, device: False)
    assert step_on_meta(tmp_path, OPERATIONS[1]) == []


@pytest.mark.parametrize(
    "culprit",
    [
        lambda model: torch.ones(3).to("meta"),
        lambda model: torch.tensor([1.0, 2.0], device="meta"),
        lambda model: model.head.weight[torch.tensor([0, 1])],
    ],
    ids=["a blocking copy", "a tensor of Python numbers", "an index on the host"],
)
def test_the_guard_sees_each_kind(tmp_path, culprit):
    assert step_on_meta(tmp_path, [], culprit=culprit)


def test_the_guard_sees_a_number_that_is_read(tmp_path):
    with pytest.raises(RuntimeError, match="item"):
        torch.ones(3, device="meta").sum().item()
