"""Errors that no exception tells: each oracle, and bugs that it must find (put into the product's own source)."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
import yaml
from data.pictures import make_folder
from faults import forked, quick
from faults.mutate import mutate
from torch import nn
from workload import BATCH, CLASSES, SAMPLES, Net, make_split, train

from cnntrain.config.recipe import check
from cnntrain.data.holdout import hold_out
from cnntrain.data.split import Split
from cnntrain.draws import Draws
from cnntrain.engine import checkpoint
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import evaluate
from cnntrain.engine.inputs import Normalise, TrainBatches
from cnntrain.engine.machine import Machine
from cnntrain.engine.precision import Precision
from cnntrain.engine.stopping import stopping
from cnntrain.loss.cross_entropy import CrossEntropy
from cnntrain.objective.classification import Classification
from cnntrain.optimizer.sgd import sgd
from cnntrain.task.load import load
from cnntrain.weights.scratch import scratch

CPU = Machine(device="cpu", threads=1)
GOAL = Classification(loss=CrossEntropy(class_counts=[1] * CLASSES), num_classes=CLASSES)
SMALL = (
    "model=lenet5 data=synthetic data.image_size=12 data.channels=1 data.samples=67 data.test_samples=20 data.classes=4 epochs=2 "
    "batch_size=16 report.every=1it machine.threads=1 machine.device=cpu report.progress=off report.tensorboard=false"
).split()


def close(a, b, *, tolerance=1e-5):
    assert math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance), f"{a} is not {b}"


def normalise(channels=2):
    return Normalise([0.4, 0.5][:channels], [0.2, 0.3][:channels], device=CPU.device, memory_format=CPU.memory_format)


def judged(model, split, batch_size=5):
    return evaluate(model, split, objective=GOAL, normalise=normalise(), machine=CPU, batch_size=batch_size)


def rows(folder):
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


# H1


def evaluation_changes_nothing(folder):
    model = Net()
    model.train()
    model.frozen = nn.BatchNorm2d(3).eval()  # a frozen batch norm
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [part.training for part in model.modules()]
    generator = torch.get_rng_state()
    judged(model, make_split(13, 3))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == flags and torch.equal(generator, torch.get_rng_state())


# H2


class Seen(nn.Module):
    """Its logits are the picture's own class, of a picture whose pixels tell it."""

    def forward(self, inputs):
        return nn.functional.one_hot((inputs[:, 0, 0, 0] * 0.2 + 0.4).mul(255).round().long(), CLASSES).float()


def each_sample_counts_once(folder):
    for number in [*range(1, 13), 20, 39, 40]:
        labels = torch.arange(number) % CLASSES
        images = labels.to(torch.uint8)[:, None, None, None].repeat(1, 2, 2, 2)
        wrong = torch.arange(number) % 5 == 4
        images[wrong] = (images[wrong] + 1) % CLASSES
        for batch_size in (1, 2, 3, 5, 9):
            evaluation = judged(Seen(), Split(images, labels), batch_size)
            assert evaluation.samples.labels.tolist() == labels.tolist() and len(evaluation) == number
            close(evaluation.metrics["accuracy"], 1 - int(wrong.sum()) / number)


# H3


def orders(seed=3, size=50, batch_size=7, epochs=3):
    clock = Clock(num_samples=size, batch_size=batch_size, epochs=epochs)
    split = make_split(size, 1)
    batches = TrainBatches(split, clock, Draws(seed, size), Augmentation([]))
    return clock, batches, [torch.cat([index for _, _, index in batches.epoch(epoch, step=clock.start(epoch))]) for epoch in range(epochs)]


def every_epoch_is_another_permutation(folder):
    clock, batches, found = orders()
    whole = set(range(50)) - set()
    left_out = 50 % 7 == 1  # a last batch of one sample
    for order in found:
        assert len(set(order.tolist())) == len(order) == 50 - left_out and set(order.tolist()) <= whole
        assert order.tolist() != sorted(order.tolist())
    assert len({tuple(order.tolist()) for order in found}) == 3
    assert found[0].tolist() != orders(seed=4)[2][0].tolist()
    for step in (3, 11):  # a resume within an epoch goes on where it was
        epoch = step // clock.steps_per_epoch
        rest = torch.cat([index for _, _, index in batches.epoch(epoch, step=step)])
        assert rest.tolist() == found[epoch].tolist()[(step - clock.start(epoch)) * 7 :]
    for epoch in range(3):
        images, labels, index = next(iter(batches.epoch(epoch, step=clock.start(epoch))))
        assert torch.equal(images, batches.split.images[index]) and torch.equal(labels, batches.split.labels[index])


# H4


def no_two_share_a_stream(folder):
    """10^4 draws of samples, epochs, operations and seeds: all distinct; and none depends on the batch that a sample is in."""
    size, index = 500, torch.arange(500)
    draws = Draws(0, size)
    seen = torch.cat(
        [Draws(seed, size).at(epoch, 0, index).uniform(name, 2).flatten() for seed in (0, 1) for epoch in (0, 1, 2) for name in ("a", "b")]
    )
    assert len(seen) == 12_000 and len(seen.unique()) > 11_950  # of 2^24 floats a few meet by chance
    some = torch.tensor([7, 3, 450])
    assert torch.equal(draws.at(1, 9, some).uniform("a", 2), draws.at(1, 0, index).uniform("a", 2)[some])
    assert not torch.equal(draws.at(0, 0, some).uniform("a", 2), draws.at(1, 0, some).uniform("a", 2))
    noise = draws.at(0, 0, index).noise("n", torch.Size([500, 1, 4, 4])).flatten(1)
    assert len(noise.unique(dim=0)) == 500
    assert torch.equal(draws.at(0, 5, some).noise("n", torch.Size([3, 1, 4, 4])).flatten(1), noise[some])
    assert not torch.equal(noise, draws.at(1, 0, index).noise("n", torch.Size([500, 1, 4, 4])).flatten(1))
    batch = {draws.at(0, step, index).batch(name).random() for step in range(20) for name in ("mixup", "cutmix")}
    assert len(batch) == 40


# H5


def what_is_judged_is_never_augmented(folder):
    """What the model is given in evaluation, twice: the split's pictures, normalised, in their order; no sample is in train and val."""
    split, seen = make_split(23, 4), []

    class Spy(Net):
        def forward(self, inputs):
            seen.append(inputs.clone())
            return super().forward(inputs)

    for _ in range(2):
        judged(Spy(), split)
    expected = (split.images / 255 - torch.tensor([0.4, 0.5]).reshape(2, 1, 1)) / torch.tensor([0.2, 0.3]).reshape(2, 1, 1)
    for found in (torch.cat(seen[: len(seen) // 2]), torch.cat(seen[len(seen) // 2 :])):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    labels = torch.arange(97) % 5
    kept, held = hold_out(labels, 0.2, num_classes=5, seed=1)
    assert not set(kept.tolist()) & set(held.tolist()) and sorted([*kept.tolist(), *held.tolist()]) == list(range(97))
    assert len(held) == 19 and set(labels[held].tolist()) == set(range(5))
    assert held.tolist() != hold_out(labels, 0.2, num_classes=5, seed=2)[1].tolist() and held.tolist() != list(range(78, 97))


# H6


def the_checkpoint_is_all_that_prediction_needs(folder):
    """``load`` gives what the run's own evaluation saw: on raw pixels, without the data set."""
    quick.start(folder / "run", *SMALL, "average=ema", "average.decay=0.5")
    best = checkpoint.read(folder / "run" / "best.safetensors")
    from cnntrain.data.synthetic import synthetic

    data = synthetic(classes=4, image_size=12, channels=1, samples=67, test_samples=20, seed=0)
    predictor = load(folder / "run" / "best.safetensors")
    assert predictor.classes == data.classes and predictor.image_size == 12 and not predictor.training
    images, labels, _ = next(iter(data.val.fetch([torch.arange(len(data.val))])))
    with torch.no_grad():
        logits = predictor(images)
    close(nn.functional.cross_entropy(logits, labels).item(), best.meta["metrics"]["loss"])
    close((logits.argmax(1) == labels).double().mean().item(), best.meta["metrics"]["accuracy"])
    (label, probability), *_ = predictor.predict(images[0])
    assert label == data.classes[int(logits[0].argmax())]
    close(probability, logits[0].softmax(0).max().item())


# H7


def metrics_weigh_every_sample_alike(folder):
    """With batches of 8 and a last one of 5: the epoch's training loss and the evaluation's are means over samples."""
    real, losses = Classification.__call__, []

    def spied(self, model, inputs, targets):
        total, stats = real(self, model, inputs, targets)
        if model.training:
            losses.append((float(stats["loss_sum"]), int(stats["correct"]), len(inputs)))
        return total, stats

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classification, "__call__", spied)
        train(folder / "run", epochs=1)
    assert [size for _, _, size in losses] == [BATCH] * 16 + [5] and sum(size for _, _, size in losses) == SAMPLES
    row = next(row for row in rows(folder / "run") if "epoch/loss" in row)
    close(row["epoch/loss"], sum(loss for loss, _, _ in losses) / SAMPLES)
    close(row["epoch/accuracy"], sum(hits for _, hits, _ in losses) / SAMPLES)
    window = [row for row in rows(folder / "run") if "train/loss" in row]
    close(window[1]["train/loss"], sum(loss for loss, _, _ in losses[5:10]) / 40)
    torch.manual_seed(0)
    model, split = Net(), make_split(13, 2)
    evaluation = judged(model, split, 5)
    with torch.no_grad():
        logits = model.eval()(normalise()(split.images))
    close(evaluation.metrics["loss"], nn.functional.cross_entropy(logits, split.labels).item())


# H8


def microbatches_make_the_gradient_of_the_whole_batch(folder):
    source = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(10, 2, 8, 8, generator=source), torch.arange(10) % CLASSES
    found = []
    for microbatch in (None, 1, 3, 4, 5, 7, 10, 16):  # 10 = 4 + 4 + 2: the last part is short
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, CLASSES))
        optimizer = torch.optim.SGD([{"params": list(model.parameters()), "lr_scale": 1.0}], lr=0.1)
        precision = Precision(optimizer, machine=CPU, clip=None, microbatch=microbatch)
        stats = precision.backward(GOAL, model, inputs, GOAL.targets(labels))
        found.append([p.grad.clone() for p in model.parameters()])
        assert stats["count"] == 10
        close(float(stats["loss_sum"]) / 10, nn.functional.cross_entropy(model(inputs), labels).item())
        for mine, whole in zip(found[-1], found[0], strict=True):
            torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-6)


# H9


def linear(start, end, share):
    return start + (end - start) * share


def triangle(step, cycle):
    return 1 - abs(step % cycle / cycle * 2 - 1)


def one_cycle(step, total):
    top = 0.3 * total - 1
    low, high, share = (0.04, 1, step / top) if step <= top else (1, 4e-6, (step - top) / (total - 1 - top))
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


def sgdr(step, total):
    length = math.ceil(total * 0.1429)
    while step >= length:
        step, length = step - length, 2 * length
    return (1 + math.cos(math.pi * step / length)) / 2


FORMULAS = {  # of the shipped YAMLs, as fractions of the peak
    "constant": lambda step, total: 1.0,
    "cosine": lambda step, total: (1 + math.cos(math.pi * step / total)) / 2,
    "linear": lambda step, total: 1 - step / total,
    "step": lambda step, total: 0.1 ** ((step >= total / 2) + (step >= total * 3 / 4)),
    "triangular": lambda step, total: linear(0.01, 1, triangle(step, total)),
    "triangular2": lambda step, total: 0.04 + 0.96 * triangle(step, total / 4) / 2 ** (step // (total / 4)),
    "exp_range": lambda step, total: 0.1 ** (step / total) * linear(0.04, 1, triangle(step, total / 4)),
    "one_cycle": one_cycle,
    "sgdr": sgdr,
}


def the_rate_of_every_step_is_the_formulas(folder):
    """Each schedule by itself; and in a run each step is made with the rate of that step, times the group's own factor."""
    names = sorted(path.stem for path in (quick.CONF / "schedule").glob("*.yaml"))
    clock = Clock(num_samples=100, batch_size=10, epochs=4)
    for name in names:
        node = yaml.safe_load((quick.CONF / "schedule" / f"{name}.yaml").read_text())
        schedule = check(node, place="schedule")(clock=clock, lr=0.3)
        assert name in FORMULAS, f"give {name} a formula here"
        for step in range(clock.total):
            close(schedule(step)["lr"], 0.3 * FORMULAS[name](step, clock.total), tolerance=1e-9)
    real, used = Precision.step, []

    def spied(self, step):
        for group in self.optimizer.param_groups:
            group["lr_scale"] = 0.5
        used.append((step, self.optimizer.param_groups[0]["lr"], self.optimizer.param_groups[0]["momentum"]))
        return real(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Precision, "step", spied)
        train(folder / "run", epochs=1)
    assert [step for step, _, _ in used] == list(range(17))
    for step, lr, momentum in used:
        close(lr, 0.1 * (1 - step / 17) * (0.5 if step else 1))
        close(momentum, 0.8 + 0.1 * step / 17)


# H10


def decay_and_freezing_reach_what_they_name(folder):
    model = Net()
    model.conv.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model, groups = scratch(model=model, lr_scale={"head.*": 3.0})
    optimizer = sgd(params=groups, lr=0.1, momentum=0.0, weight_decay=0.01)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates.get(id(p)) for name, p in model.named_parameters()}
    expected = {
        "head.weight": (0.3, 0.01),
        "head.bias": (0.3, 0.0),
        "norm.weight": (0.1, 0.0),
        "norm.bias": (0.1, 0.0),
        "conv.weight": None,
    }
    for name, pair in expected.items():
        assert found[name] is None if pair is None else found[name] == pytest.approx(pair), name
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    for p in model.parameters():
        p.grad = torch.zeros_like(p)  # nothing but decay moves
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 1 - 0.3 * 0.01 if name == "head.weight" else 1.0
        torch.testing.assert_close(p.detach(), before[name] * factor, rtol=1e-6, atol=0)


# H11


def the_test_part_is_opened_once_after_training(folder):
    """A trace of every file that the process opens and every checkpoint that gets its name."""
    make_folder(folder / "pets", {f"{part}/{name}": 5 for part in ("train", "val", "test") for name in ("cat", "dog")}, size=12)
    words = ["model=lenet5", "data=folder", f"data.root={folder}/pets", "data.image_size=12", "data.residency=streamed", "data.workers=0"]
    words += [*"batch_size=4 epochs=2 machine.threads=1 machine.device=cpu report.progress=off report.tensorboard=false".split()]

    def work():
        import os
        import sys

        trace = os.open(folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def hook(event, arguments):
            if event in ("open", "os.rename") and isinstance(arguments[0], str | bytes | os.PathLike):
                name = os.fsdecode(arguments[1] if event == "os.rename" else arguments[0])
                if "/pets/" in name or name.endswith("last.safetensors"):
                    os.write(trace, f"{event} {name}\n".encode())

        sys.addaudithook(hook)
        quick.start(folder / "run", *words)

    ended = forked.run(work, folder / "console")
    assert ended.code == 0, ended.output
    events = (folder / "trace").read_text().splitlines()
    opened = {
        part: [i for i, line in enumerate(events) if line.startswith("open") and f"/pets/{part}/" in line]
        for part in ("train", "val", "test")
    }
    saved = max(i for i, line in enumerate(events) if line.startswith("os.rename") and line.endswith("run/last.safetensors"))
    assert len(opened["train"]) >= 2 * 8 and len(opened["val"]) >= 2 * 10
    assert len(opened["test"]) >= 10 and min(opened["test"]) > saved, "the test part was read before the training's end"


# H12


def the_best_is_the_argmax_of_the_log(folder):
    chance = random.Random(0)
    for larger in (True, False):
        for _ in range(200):
            values = [chance.choice([0.1, 0.2, 0.3, math.nan]) for _ in range(8)]
            losses = [chance.choice([1.0, 2.0]) for _ in values]
            judge = stopping(larger_is_better=larger, min_delta=0.05)
            best = None
            for step, (value, loss) in enumerate(zip(values, losses, strict=True), start=1):
                place = (value if larger else -value, -loss)
                expected = not math.isnan(value) and (best is None or place > best)
                if expected:
                    best = place
                if step == 4:  # killed and resumed: nothing is forgotten
                    state = json.loads(json.dumps(judge.state()))
                    judge = stopping(larger_is_better=larger, min_delta=0.05)
                    judge.restore(state)
                assert judge.see(value, step, loss=loss) == expected, (values, losses, step)
    state = train(folder / "run", epochs=7)
    seen = [(row["val/accuracy"], -row["val/loss"], -row["step"]) for row in rows(folder / "run") if "val/accuracy" in row]
    best = checkpoint.read(folder / "run" / "best.safetensors").meta
    assert (best["metrics"]["accuracy"], -best["metrics"]["loss"], -best["step"]) == max(seen) and best["step"] == state.judge.best_step
    assert max(seen) != seen[-1], "the last is the best: nothing is shown"


ORACLES = {
    "H1": evaluation_changes_nothing,
    "H2": each_sample_counts_once,
    "H3": every_epoch_is_another_permutation,
    "H4": no_two_share_a_stream,
    "H5": what_is_judged_is_never_augmented,
    "H6": the_checkpoint_is_all_that_prediction_needs,
    "H7": metrics_weigh_every_sample_alike,
    "H8": microbatches_make_the_gradient_of_the_whole_batch,
    "H9": the_rate_of_every_step_is_the_formulas,
    "H10": decay_and_freezing_reach_what_they_name,
    "H11": the_test_part_is_opened_once_after_training,
    "H12": the_best_is_the_argmax_of_the_log,
}

# Row, what the bug is, where, and the piece of source that it changes.
MUTANTS = [
    ("H1", "no model.eval()", "cnntrain.engine.evaluation:evaluating", "model.eval()", "pass"),
    (
        "H1",
        "model.train() afterwards, frozen norms too",
        "cnntrain.engine.evaluation:evaluating",
        "module.training = training",
        "module.train()",
    ),
    ("H1", "flags are not put back", "cnntrain.engine.evaluation:evaluating", "module.training = training", "pass"),
    (
        "H2",
        "drop_last",
        "cnntrain.engine.evaluation:evaluate",
        "iter(torch.arange(len(split)).split(batch_size))",
        "(part for part in torch.arange(len(split)).split(batch_size) if len(part) == min(batch_size, len(split)))",
    ),
    (
        "H2",
        "the last batch is filled up",
        "cnntrain.engine.evaluation:evaluate",
        "iter(torch.arange(len(split)).split(batch_size))",
        "((torch.arange(batch_size) + at) % len(split) for at in range(0, len(split), batch_size))",
    ),
    (
        "H2",
        "the first batch twice",
        "cnntrain.objective.class_metrics:collect",
        "torch.cat(figures, dim=1)",
        "torch.cat([figures[0], *figures], dim=1)",
    ),
    ("H3", "the same order in every epoch", "cnntrain.draws:Draws.permutation", '"order", epoch', '"order"'),
    ("H3", "the same order for every seed", "cnntrain.draws:Draws.permutation", "generator(self.seed, ", "generator("),
    (
        "H3",
        "drawn with replacement",
        "cnntrain.draws:Draws.permutation",
        "torch.randperm(self.size, ",
        "torch.randint(self.size, (self.size,), ",
    ),
    ("H3", "not shuffled", "cnntrain.draws:Draws.permutation", "return order.pin", "order = torch.arange(self.size); return order.pin"),
    (
        "H3",
        "a resume begins the epoch again",
        "cnntrain.engine.inputs:TrainBatches.epoch",
        "[(step - first) * size :",
        "[0 * (step - first) * size :",
    ),
    (
        "H3",
        "a resume skips a batch too many",
        "cnntrain.engine.inputs:TrainBatches.epoch",
        "[(step - first) * size :",
        "[(step - first + (step > first)) * size :",
    ),
    (
        "H4",
        "one stream for all samples",
        "cnntrain.draws:Draws.table",
        "make(self.size, columns, generator=source)",
        "make(1, columns, generator=source).repeat(self.size, 1)",
    ),
    ("H4", "the same draws in every epoch", "cnntrain.draws:Draws.table", "columns, self._epoch)", "columns)"),
    ("H4", "the tables of the epoch before", "cnntrain.draws:Draws.at", "if epoch != self._epoch:", "if self._epoch < 0:"),
    (
        "H4",
        "one stream for all operations",
        "cnntrain.draws:Draws.table",
        "kind, operation, columns, self._epoch)",
        "kind, columns, self._epoch)",
    ),
    ("H4", "by the place in the batch", "cnntrain.draws:BatchDraws.uniform", "self._index)", "torch.arange(len(self._index)))"),
    (
        "H4",
        "one noise for all samples",
        "cnntrain.draws:BatchDraws.noise",
        "(self._index.to(torch.int64)[:, None] * 2 + 1)",
        "(0 * self._index.to(torch.int64)[:, None] + 1)",
    ),
    ("H4", "one draw for all steps", "cnntrain.draws:BatchDraws.batch", "operation, self.step)", "operation)"),
    (
        "H5",
        "flipped in validation",
        "cnntrain.engine.evaluation:evaluate",
        "inputs = normalise(images)",
        "inputs = normalise(images.flip(3) if torch.rand(()) < 0.5 else images)",
    ),
    (
        "H5",
        "shuffled pictures, labels in order",
        "cnntrain.engine.evaluation:evaluate",
        "inputs = normalise(images)",
        "inputs = normalise(images[torch.randperm(len(images))])",
    ),
    ("H5", "train keeps what is held out", "cnntrain.data.holdout:hold_out", "by_class[~chosen].sort()", "by_class.sort()"),
    (
        "H5",
        "the tail is held out",
        "cnntrain.data.holdout:hold_out",
        'torch.randperm(len(labels), generator=draws.generator(seed, "holdout"))',
        "torch.arange(len(labels)).flip(0)",
    ),
    ("H6", "the mean is missing", "cnntrain.task.assemble:facts_of", '"mean": list(dataset.mean)', '"mean": [0.0] * len(dataset.mean)'),
    ("H6", "the std is missing", "cnntrain.task.assemble:facts_of", '"std": list(dataset.std)', '"std": [1.0] * len(dataset.std)'),
    ("H6", "classes in another order", "cnntrain.task.assemble:facts_of", "list(dataset.classes)", "sorted(dataset.classes, reverse=True)"),
    (
        "H6",
        "bytes are not scaled",
        "cnntrain.task.load:Predictor.forward",
        "self.byte_scale if images.dtype == torch.uint8 else self.scale",
        "self.scale",
    ),
    ("H6", "the trained weights, not the averaged ones", "cnntrain.task.load:_built", "judged_prefix(checkpoint.tensors)", '"model."'),
    ("H6", "no evaluation mode", "cnntrain.task.load:predictor", ".eval()", ".train()"),
    (
        "H7",
        "a mean of batch means in training",
        "cnntrain.engine.state:State.advance",
        "stats[name] for name in self.means.values()",
        'stats[name] * (8 / stats["count"] if name == "loss_sum" else 1) for name in self.means.values()',
    ),
    (
        "H7",
        "the epoch counts only its last window",
        "cnntrain.engine.state:State.take",
        "self.sums[name].zero_()",
        'self.sums["epoch"].zero_(), self.sums[name].zero_()',
    ),
    (
        "H7",
        "the window is never emptied",
        "cnntrain.engine.state:State.take",
        "self.sums[name].zero_()",
        'self.sums["epoch"].mul_(name != "epoch")',
    ),
    (
        "H7",
        "a mean of batch means in evaluation",
        "cnntrain.objective.class_metrics:ClassEvaluation.metrics",
        "self.samples.losses.mean()",
        "torch.stack([part.mean() for part in self.samples.losses.split(5)]).mean()",
    ),
    ("H8", "divided by the full length", "cnntrain.engine.precision:Precision.backward", "len(some) / size", "part / size"),
    ("H8", "parts are added, not averaged", "cnntrain.engine.precision:Precision.backward", "len(some) / size", "1.0"),
    ("H8", "divided by the number of parts", "cnntrain.engine.precision:Precision.backward", "len(some) / size", "1 / -(-size // part)"),
    ("H8", "only the last part is counted", "cnntrain.engine.precision:Precision.backward", "total[name] + value", "value"),
    ("H9", "one step late", "cnntrain.engine.loop:fit", "schedule(state.step))", "schedule(max(state.step - 1, 0)))"),
    (
        "H9",
        "the group's factor is ignored",
        "cnntrain.engine.precision:set_hyperparameters",
        'values["lr"] * group["lr_scale"]',
        'values["lr"]',
    ),
    (
        "H9",
        "momentum is not scheduled",
        "cnntrain.engine.precision:set_hyperparameters",
        'values.get("momentum", group["momentum"])',
        'group["momentum"]',
    ),
    ("H9", "a triangle off by one", "cnntrain.schedule.cyclical:_Triangles.values", "(step % self.cycle)", "((step + 1) % self.cycle)"),
    ("H9", "the peak of triangular2 never halves", "cnntrain.schedule.cyclical:Triangular2.__call__", "0.5 ** (", "1.0 ** ("),
    ("H9", "SGDR's cycles do not grow", "cnntrain.schedule.sgdr:Sgdr._position", "length * self._growth", "length"),
    (
        "H9",
        "milestones one step late",
        "cnntrain.schedule.step:Step._drops",
        "bisect_right(self._milestones, step)",
        "bisect_right(self._milestones, step - 1)",
    ),
    (
        "H9",
        "annealed to the last step, not past it",
        "cnntrain.schedule.ramp:Annealing.__init__",
        "clock.total - self._warmup",
        "clock.total - 1",
    ),
    ("H10", "weight decay on all", "cnntrain.optimizer.groups:split", "(plain, 0.0)", "(plain, weight_decay)"),
    ("H10", "weight decay on none", "cnntrain.optimizer.groups:split", "(decayed, weight_decay)", "(decayed, 0.0)"),
    ("H10", "frozen weights are trained", "cnntrain.weights.groups:grouped", "if parameter.requires_grad]", "]"),
    ("H10", "the factor reaches everything", "cnntrain.weights.groups:grouped", "if fnmatchcase(name, pattern)), 1.0)", "), 1.0)"),
    ("H10", "the group's factor is lost", "cnntrain.optimizer.groups:split", '"lr": lr * scale', '"lr": lr'),
    ("H11", "validated on the test part", "cnntrain.task.train:train", "split=dataset.val.to(", "split=dataset.test.to("),
    (
        "H11",
        "a look at the test part at the start",
        "cnntrain.task.train:train",
        "draws = Draws(",
        "next(iter(dataset.test.fetch([torch.arange(1)]))); draws = Draws(",
    ),
    ("H12", "ties to the latest", "cnntrain.engine.stopping:Judge.see", "not loss < self.best_loss", "loss > self.best_loss"),
    ("H12", "NaN may be best", "cnntrain.engine.stopping:Judge.see", "if math.isnan(score):", "if False:"),
    (
        "H12",
        "a small gain is none",
        "cnntrain.engine.stopping:Judge.see",
        "score < self.sign * self.best ",
        "score <= self.sign * self.best + self.min_delta ",
    ),
    (
        "H12",
        "the smallest is best",
        "cnntrain.engine.stopping:Judge.__init__",
        "1.0 if larger_is_better else -1.0",
        "-1.0 if larger_is_better else 1.0",
    ),
    ("H12", "the best loss is forgotten by a resume", "cnntrain.engine.stopping:Judge.restore", 'state["best_loss"] is None', "True"),
    ("H12", "the best is forgotten by a resume", "cnntrain.engine.stopping:Judge.restore", 'state["best"], int', "None, int"),
    (
        "H12",
        "every evaluation is kept as best",
        "cnntrain.engine.loop:fit",
        "best = evaluation is not None and state.judged(",
        "best = evaluation is not None; state.judged(",
    ),
]
SLOW = ("H6", "H11")  # a whole run each; one mutant of theirs is quick enough


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", ORACLES)
def test_the_oracle_holds(tmp_path, row):
    ORACLES[row](tmp_path)


def mutants():
    seen = set()
    for row, name, *change in MUTANTS:
        marks = [pytest.mark.slow] if row in SLOW and row in seen else []
        seen.add(row)
        yield pytest.param(row, name, change, marks=marks, id=f"{row} {name}")


@pytest.mark.parametrize(("row", "name", "change"), list(mutants()))
def test_the_oracle_finds_the_bug(tmp_path, monkeypatch, fault, row, name, change):
    mutate(monkeypatch, *change)
    with pytest.raises((AssertionError, IndexError, ZeroDivisionError)):
        ORACLES[row](tmp_path)
    fault(row, name)


def test_every_row_has_its_mutants():
    assert list(ORACLES) == [f"H{number}" for number in range(1, 13)] and {row for row, *_ in MUTANTS} == set(ORACLES)
