"""Evaluation counts every sample once and changes nothing; each test's mutant is put in and must be caught."""

import copy

import pytest
import torch
from torch import nn

from cnntrain.engine import evaluation as module
from cnntrain.engine.evaluation import evaluate, evaluating
from cnntrain.engine.inputs import Normalise
from cnntrain.engine.machine import Machine
from cnntrain.errors import DataError
from cnntrain.objective import classification
from cnntrain.objective.classification import Classification

K = 7


class Pictures:
    """A split of random pictures in memory."""

    def __init__(self, number):
        source = torch.Generator().manual_seed(number)
        self.images = torch.randint(256, (number, 3, 6, 6), dtype=torch.uint8, generator=source)
        self.labels = torch.randint(K, (number,), generator=source)

    def __len__(self):
        return len(self.labels)

    def fetch(self, orders):
        for order in orders:
            yield self.images[order], self.labels[order], order


def cross_entropy(logits, targets):
    assert logits.dtype == torch.float32
    return (targets * (logits.logsumexp(1, keepdim=True) - logits)).sum(1)


class FrozenNorm(nn.BatchNorm2d):
    """A batch norm that refuses to train, as fine-tuning has it."""

    def train(self, mode=True):
        return super().train(False)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        FrozenNorm(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, K),
    )


CPU = Machine(device="cpu")
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def run(model, split, *, machine=None, num_classes=K, batch_size=256):
    machine = machine or CPU
    normalise = Normalise(MEAN, STD, device=machine.device, memory_format=machine.memory_format)
    goal = Classification(loss=cross_entropy, num_classes=num_classes)
    return evaluate(model, split, objective=goal, normalise=normalise, machine=machine, batch_size=batch_size)


def plain_loop(model, split):
    """Loss and accuracy, sample by sample."""
    model = copy.deepcopy(model).eval()
    mean, std = torch.tensor(MEAN).reshape(3, 1, 1), torch.tensor(STD).reshape(3, 1, 1)
    loss, hits = 0.0, 0
    for image, label in zip(split.images, split.labels, strict=True):
        with torch.no_grad():
            logits = model(((image / 255 - mean) / std)[None])
        loss += nn.functional.cross_entropy(logits, label[None]).item()
        hits += int(logits.argmax() == label)
    return {"loss": loss / len(split), "accuracy": hits / len(split)}


@pytest.mark.parametrize("number", [1, 2, 13, 40])
@pytest.mark.parametrize("batch_size", [1, 4, 9, 64])
def test_loss_and_accuracy_are_a_plain_loops(number, batch_size):
    model, split = net(), Pictures(number)
    expected, metrics = plain_loop(model, split), run(model, split, batch_size=batch_size).metrics
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert metrics["accuracy"] == expected["accuracy"]


class Channels(Pictures):
    """One pixel a picture, bright in the channel that is its class."""

    def __init__(self, number):
        self.labels = torch.arange(number) % 3
        self.images = nn.functional.one_hot(self.labels, 3).to(torch.uint8)[:, :, None, None] * 255


def check_counts():
    for number in range(1, 41):
        for batch_size in range(1, 10):
            split = Channels(number)
            samples = run(nn.Flatten(), split, batch_size=batch_size, num_classes=3).samples
            assert samples.labels.equal(split.labels)
            assert samples.predicted.equal(split.labels)


def test_each_of_n_samples_counts_once():
    check_counts()


def drop_last(figures):
    return figures[:-1] or figures


def pad_last(figures):
    missing = figures[0].shape[1] - figures[-1].shape[1]
    return [*figures, figures[0][:, :missing]]


@pytest.mark.parametrize("mutant", [drop_last, pad_last])
def test_a_lost_or_doubled_sample_is_caught(mutant, monkeypatch):
    collect = classification.collect
    monkeypatch.setattr(classification, "collect", lambda figures: collect(mutant(figures)))
    with pytest.raises(AssertionError):
        check_counts()


def test_a_mean_of_batch_means_is_another_number():
    """The oracle of the plain loop tells them apart: with an odd last batch they differ by far more than its tolerance."""
    model, split = net(), Pictures(13)
    evaluation = run(model, split, batch_size=4)
    means = torch.stack([part.mean() for part in evaluation.samples.losses.split(4)])
    assert abs(means.mean().item() - plain_loop(model, split)["loss"]) > 1e-3


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}, [part.training for part in model.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_no_buffer_weight_flag_or_generator_is_touched(training):
    model = net().train(training)
    model[2].eval()  # a single part in another mode than its parent
    model[4].training = True  # past its own train(), by which it could not be restored
    before, flags = state(model)
    generator = torch.get_rng_state()
    run(model, Pictures(10), batch_size=3)
    after, flags_after = state(model)
    assert all(after[name].equal(value) for name, value in before.items())
    assert flags_after == flags
    assert torch.get_rng_state().equal(generator)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_buffer_oracle_catches_evaluation_in_training_mode(monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(module, "evaluating", lambda model: nullcontext())
    model = net().train()
    before, _ = state(model)
    run(model, Pictures(10), batch_size=3)
    after, _ = state(model)
    assert not after["1.running_mean"].equal(before["1.running_mean"])
    assert after["4.running_mean"].equal(before["4.running_mean"])  # the frozen one


def test_flags_are_restored_after_an_error():
    model = net().train()
    flags = state(model)[1]
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(part.training for part in model.modules())
        raise ZeroDivisionError
    assert state(model)[1] == flags


def test_training_goes_on_after_evaluation_with_what_the_first_pass_stored():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.grid = nn.Parameter(torch.ones(K)), None

        def forward(self, inputs):
            if self.grid is None:
                self.grid = torch.linspace(0, 1, K)
            return inputs.mean((1, 2, 3))[:, None] * self.weight * self.grid

    model = Lazy()
    run(model, Pictures(3))
    model(torch.ones(2, 3, 6, 6)).sum().backward()  # inference_mode would leave a tensor that autograd refuses
    assert model.weight.grad is not None


def test_the_machines_precision_and_memory_format_reach_the_model():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, K, 6)

        def forward(self, inputs):
            output = self.layer(inputs)
            seen.append((inputs.is_contiguous(memory_format=torch.channels_last), output.dtype, torch.is_grad_enabled()))
            return output.flatten(1)

    run(Spy(), Pictures(4), machine=Machine(device="cpu", precision="bf16"))
    run(Spy(), Pictures(4), machine=Machine(device="cpu", channels_last=False))
    assert seen == [(True, torch.bfloat16, False), (False, torch.float32, False)]


def test_an_empty_split_is_named():
    with pytest.raises(DataError, match="no picture"):
        run(net(), Pictures(0))
