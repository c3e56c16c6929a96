"""Memory that runs out in every act of training: what fits is found out, what was named works, and nothing else is lost."""

import os
import re
import subprocess
import sys
import weakref
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from faults import quick
from workload import CLASSES, Net, make_optimizer

from cnntrain.engine import checkpoint
from cnntrain.engine.inputs import Normalise
from cnntrain.engine.machine import Machine, is_out_of_memory
from cnntrain.engine.memory import Trial, telling_what_fits
from cnntrain.engine.precision import Precision
from cnntrain.errors import OutOfMemoryError
from cnntrain.loss.cross_entropy import CrossEntropy
from cnntrain.model.lenet import LeNet5
from cnntrain.objective.classification import Classification

SMALL = (
    "model=lenet5 data=synthetic data.image_size=12 data.channels=1 data.samples=67 data.test_samples=20 data.classes=4 epochs=2 "
    "batch_size=16 report.every=3it machine.threads=1 machine.device=cpu report.progress=off report.tensorboard=false"
).split()
KINDS = {
    "torch's own": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 9 MiB"),
    "the CPU allocator's": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "Python's": lambda: MemoryError(),
    "cuBLAS's": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "oneDNN's": lambda: RuntimeError("std::bad_alloc"),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Fails(torch.autograd.Function):
    """The backward pass that does not fit."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        raise torch.OutOfMemoryError("CUDA out of memory in backward")


def too_large(monkeypatch, limit, kind, act):
    """Passes of more than ``limit`` samples fail: in the forward pass of training, in its backward pass, or in evaluation."""
    forward = LeNet5.forward

    def limited(self, images):
        size = 0 if images.is_meta else len(images)  # where only shapes are asked, there is no memory
        if size > limit and act == ("forward" if self.training else "evaluation"):
            raise kind()
        logits = forward(self, images)
        return Fails.apply(logits) if act == "backward" and size > limit and self.training else logits

    monkeypatch.setattr(LeNet5, "forward", limited)


@pytest.mark.parametrize(
    ("act", "kind"),
    [*(("forward", kind) for kind in KINDS), ("backward", "torch's own"), ("evaluation", "torch's own"), ("evaluation", "Python's")],
)
def test_the_largest_batch_that_fits_is_named_and_works(monkeypatch, fault, act, kind):
    limit, fits = (5, 4) if act != "evaluation" else (20, 16)  # 16, of which halves are tried; the evaluation takes more at once
    words = ["data.samples=333", "epochs=1"] if act == "evaluation" else []
    too_large(monkeypatch, limit, KINDS[kind], act)
    with pytest.raises(OutOfMemoryError) as error:
        quick.start("run", *SMALL, *words)
    text = str(error.value)
    where = "evaluation" if act == "evaluation" else "training"
    assert error.value.exit_code == 6 and f"Out of memory on cpu in {where}: the largest batch that fits is {fits}" in text
    assert text.endswith(f"Fix: cnntrain resume run=run microbatch={fits} (the same result)")
    if kind == "torch's own":
        quick.go_on("run", f"microbatch={fits}")
        quick.start("small", *SMALL, *words, f"microbatch={fits}")
        a, b = (checkpoint.read(f"{name}/last.safetensors").tensors for name in ("run", "small"))
        assert all(torch.equal(a[name], b[name]) for name in a)
    fault("E3", f"{kind} error in {act}")


def test_it_may_come_late_and_the_checkpoint_is_intact(monkeypatch, fault):
    """In the second epoch; the resumed run ends as one that took microbatches from there on."""
    real, calls = Classification.__call__, []

    def late(self, model, inputs, targets):
        calls.append(len(inputs))
        if len(calls) >= 7 and len(inputs) > 11:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, model, inputs, targets)

    monkeypatch.setattr(Classification, "__call__", late)
    with pytest.raises(OutOfMemoryError, match="the largest batch that fits is 8"):
        quick.start("run", *SMALL)
    kept = checkpoint.read("run/last.safetensors")
    assert kept.meta["step"] == 4 and all(value.isfinite().all() for value in kept.tensors.values() if value.is_floating_point())
    result = quick.go_on("run", "microbatch=8")
    assert result["step"] == 8
    fault("E3", "in the second epoch")


@pytest.mark.parametrize("name", ["adam", pytest.param("sgd", marks=pytest.mark.slow), pytest.param("muon", marks=pytest.mark.slow)])
def test_in_the_optimizers_step(monkeypatch, fault, name):
    real = Precision.step

    def fails(self, step):
        if step == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate the optimizer's state")
        return real(self, step)

    monkeypatch.setattr(Precision, "step", fails)
    with pytest.raises(OutOfMemoryError, match="the largest batch that fits is 8.*microbatch=8") as error:
        quick.start("run", *SMALL, f"optimizer={name}")
    assert error.value.exit_code == 6 and not Path("run/last.safetensors").exists()
    fault("E3", f"in the step of {name}")


def test_not_even_one_sample(monkeypatch, fault):
    too_large(monkeypatch, 0, KINDS["torch's own"], "forward")
    with pytest.raises(OutOfMemoryError, match="not even one sample fits.*Fix: a smaller model, or smaller images") as error:
        quick.start("run", *SMALL)
    assert error.value.exit_code == 6
    fault("E3", "not even one sample fits")


def test_a_microbatch_that_is_too_large_already(monkeypatch, fault):
    too_large(monkeypatch, 3, KINDS["torch's own"], "forward")
    with pytest.raises(OutOfMemoryError, match="the largest batch that fits is 2.*microbatch=2"):
        quick.start("run", *SMALL, "microbatch=8")
    fault("E3", "with a microbatch")


def test_an_error_in_the_trial_is_never_told(monkeypatch, fault):
    too_large(monkeypatch, 5, KINDS["torch's own"], "forward")

    def fails(self, size):
        raise AssertionError("a bug in the trial")

    monkeypatch.setattr(Trial, "_pass", fails)
    with pytest.raises(OutOfMemoryError, match="Out of memory on cpu in training.*microbatch=8") as error:
        quick.start("run", *SMALL)
    assert "bug" not in str(error.value)
    fault("E3", "a trial that fails")


def test_other_errors_are_left_alone(monkeypatch):
    def broken(self, images):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(LeNet5, "forward", broken)
    monkeypatch.setattr(Trial, "largest", lambda self, size: pytest.fail("tried"))
    with pytest.raises(RuntimeError, match="shapes"), telling(LeNet5(in_channels=1, num_classes=CLASSES, image_size=12), (1, 12, 12)):
        broken(None, None)


@pytest.mark.parametrize("error", [kind() for kind in KINDS.values()], ids=list(KINDS))
def test_every_kind_is_known(error):
    assert is_out_of_memory(error) and not is_out_of_memory(ValueError("out of memory"))


def telling(model, shape, optimizer="adamw"):
    machine = Machine(device="cpu", threads=1)
    precision = Precision(make_optimizer(optimizer, model), machine=machine, clip=None, microbatch=None)
    goal = Classification(loss=CrossEntropy(class_counts=[1] * CLASSES), num_classes=CLASSES)
    normalise = Normalise([0.5] * shape[0], [0.5] * shape[0], device=machine.device, memory_format=machine.memory_format)
    return telling_what_fits(model, goal, precision, normalise=normalise, shape=shape, batch_size=64, command="again")


def test_the_trial_leaves_everything_as_it_was_and_says_what_batch_norm_sees(fault):
    """Weights, buffers, flags, generators; and what training held is free while it runs."""
    model = Net()
    model.eval()
    model.norm.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [part.training for part in model.modules()]
    generator = torch.get_rng_state()
    alive, references = [], []

    def limited(module, inputs):
        if not module.training:
            return
        alive.append(references[0]() is not None)
        if len(inputs[0]) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(limited)

    def training():
        held = torch.ones(3)  # as the batch in the frame of a step that failed
        references.append(weakref.ref(held))
        raise torch.OutOfMemoryError(f"CUDA out of memory with {len(held)}")

    with pytest.raises(OutOfMemoryError, match=r"microbatch=8 \(batch norm then sees 8 at a time\)"), telling(model, (2, 8, 8)):
        training()
    assert len(alive) == 4 and not any(alive), "32, 16 and twice 8 samples were tried, with nothing held"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == flags and torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in model.parameters())
    fault("E3", "a net with batch norm and dropout")


@pytest.mark.slow
def test_a_real_limit(tmp_path, fault):
    """The address space of a process is bounded: 4,096 pictures at once do not fit, what is named does."""
    words = [*SMALL, "data.image_size=32", "data.samples=4600", "data.test_samples=8", "data.val=0", "epochs=1it"]

    def bounded(act, megabytes):
        # A fresh interpreter: what fits depends on how the allocator has cut its memory up, and this one has had other tests.
        lines = (
            "import gc, resource",
            "from faults import quick",
            f"words = {words!r}",
            f"quick.start({str(tmp_path / f'before {megabytes}')!r}, *words, 'batch_size=8')",  # what is imported on the way
            "gc.collect()",
            "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()",
            f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)",
            act,
        )
        paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
        code = "\n".join(lines)
        return subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)

    ended = bounded("quick.start('run', *words, 'batch_size=4096')", 100)
    found = re.search(
        r"OutOfMemoryError: Out of memory on cpu in training: the largest batch that fits is (\d+) .* microbatch=(\d+)", ended.stderr
    )
    assert ended.returncode == 1 and found, ended.stderr
    fits = int(found[1])
    assert found[1] == found[2] and 1 < fits < 4096
    ended = bounded(f"quick.go_on('run', 'microbatch={fits}')", 130)  # glibc's heap lies in pieces, and in others in each process
    assert ended.returncode == 0, ended.stderr
    assert checkpoint.read("run/last.safetensors").meta["step"] == 1
    fault("E3", "a real limit of the address space")


def test_the_advice_of_other_tasks_is_their_own():
    with pytest.raises(OutOfMemoryError, match="Fix: microbatch"), nullcontext(), Machine(device="cpu").session(0):
        raise MemoryError
