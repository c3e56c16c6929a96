"""A tiny run whose every bit can be compared: 8×8 pictures, batch norm and dropout, three epochs of 17 batches, the last one odd."""

import hashlib
import json

import torch
from torch import nn

from cnntrain.augment.flip import Flip
from cnntrain.augment.shift import Shift
from cnntrain.data.split import Split
from cnntrain.draws import Draws
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.average import Ema, Lookahead, NoAverage, Swa
from cnntrain.engine.checkpoint import read_newest
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import evaluate
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

SAMPLES, BATCH, CLASSES = 133, 8, 4


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the process's memory is left."""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


def make_optimizer(name, model):
    groups = [{"params": list(model.parameters()), "lr_scale": 1.0}]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    if name == "fused_sgd":
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, fused=True)
    if name == "fused_adamw":
        return torch.optim.AdamW(groups, lr=0.01, fused=True)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}[name](groups, lr=0.01)


def make_average(name, model, clock):
    if name == "lookahead":
        return Lookahead(model=model, clock=clock, decay=0.8, every=3, power=1.0)
    if name == "swa":
        return Swa(model=model, clock=clock, start="20%", every="4it")
    return Ema(model=model, decay=0.9, every=2) if name == "ema" else NoAverage(model=model)


def make_split(samples, seed):
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (samples,), generator=source)
    images = torch.randint(0, 200, (samples, 2, 8, 8), generator=source)
    images += labels[:, None, None, None] * 15
    return Split(images.to(torch.uint8), labels)


def train(folder, *, optimizer="sgd", average="none", microbatch=None, clip=None, patience=None, epochs=3, every=1, kill_at=None,
          minutes=0.0, precision="fp32", poison=None, on_step=None, val=True, seed=5):  # fmt: skip
    """Start the run in ``folder``, or go on with it; ``kill_at``: die after so many steps. Returns the state."""
    folder.mkdir(exist_ok=True)
    checkpoint, _ = read_newest(folder)
    machine = Machine(device="cpu", threads=1, precision=precision)
    with Run(folder, config={}, checkpoint=checkpoint) as run, machine.session(seed), Signals() as signals, signals.holding():
        train_split, val_split = make_split(SAMPLES, 1), make_split(37, 2)
        model = machine.place(Net())
        clock = Clock(num_samples=SAMPLES, batch_size=BATCH, epochs=epochs)
        draws = Draws(seed, SAMPLES)
        stepper = Precision(make_optimizer(optimizer, model), machine=machine, clip=clip, microbatch=microbatch)
        state = State(
            model=model,
            optimizer=stepper.optimizer,
            average=make_average(average, model, clock),
            scaler=stepper.scaler,
            judge=stopping(larger_is_better=True, patience=patience),
            means=Classification.means,
        )
        if checkpoint:
            state.restore(checkpoint, clock)
        goal = Classification(loss=CrossEntropy(class_counts=[1] * CLASSES), num_classes=CLASSES)
        normalise = Normalise([0.4, 0.5], [0.2, 0.3], device=machine.device, memory_format=machine.memory_format)

        def plan(step):
            return {"lr": 0.1 * (1 - step / clock.total), "momentum": 0.8 + 0.1 * step / clock.total}

        def schedule(step):
            if kill_at is not None and step == kill_at:
                raise Killed
            if on_step is not None:
                on_step(step)
            if poison == step:
                with torch.no_grad():
                    train_split.images.fill_(0)
                    model.head.bias.register_hook(lambda grad: grad * float("nan"))
            return plan(step)

        report = Report(run=run, clock=clock, schedule=plan, every="5it", tensorboard=False, progress="off")
        augmentation = Augmentation([Shift(pixels=1), Flip(p=0.5)])
        fit(
            state,
            train=TrainBatches(train_split, clock, draws, augmentation),
            validate=lambda judged: evaluate(judged, val_split, objective=goal, normalise=normalise, machine=machine) if val else None,
            augmentation=augmentation,
            draws=draws,
            normalise=normalise,
            objective=goal,
            schedule=schedule,
            precision=stepper,
            clock=clock,
            evaluate_every=1,
            report=report,
            saving=Saving(run=run, clock=clock, facts={}, every=every, minutes=minutes),
            signals=signals,
        )
        report.close()
        return state


def fingerprint(folder):
    """A hash of all that a run leaves, but for wall-clock figures."""
    checkpoint, _ = read_newest(folder)
    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(json.dumps({key: checkpoint.meta[key] for key in ("step", "epoch", "best", "metrics", "rows")}).encode())
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        digest.update(json.dumps({key: value for key, value in json.loads(line).items() if not key.startswith("speed/")}).encode())
    return digest.hexdigest()
