import pytest
import torch
from workload import make_split

from cnntrain.augment.crop import Crop
from cnntrain.augment.flip import Flip
from cnntrain.draws import Draws
from cnntrain.engine import inputs
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.clock import Clock
from cnntrain.engine.inputs import Normalise, TrainBatches


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_bytes_and_floats_normalise_to_the_same(layout):
    images = torch.randint(0, 256, (5, 3, 7, 6), dtype=torch.uint8)
    mean, std = [0.1, 0.5, 0.9], [0.2, 0.3, 0.1]
    normalise = Normalise(mean, std, device=torch.device("cpu"), memory_format=layout)
    expected = (images.double() / 255 - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    for given in (images, images.float() / 255, images.contiguous(memory_format=torch.channels_last)):
        result = normalise(given)
        assert result.dtype == torch.float32 and result.is_contiguous(memory_format=layout)
        torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


def test_an_epoch_is_every_sample_once_in_an_order_of_its_own():
    split, clock = make_split(103, 0), Clock(num_samples=103, batch_size=10, epochs=2)
    batches = TrainBatches(split, clock, Draws(0, 103), Augmentation([]))
    seen = []
    for epoch in range(2):
        index = torch.cat([index for _, _, index in batches.epoch(epoch, step=clock.start(epoch))])
        assert torch.equal(index.sort().values, torch.arange(103))
        seen.append(index)
    assert not torch.equal(*seen)
    later = torch.cat([index for _, _, index in batches.epoch(1, step=clock.start(1) + 4)])
    assert torch.equal(later, seen[1][40:])
    images, labels, index = next(batches.epoch(0, step=3))
    assert torch.equal(images, split.images[index]) and torch.equal(labels, split.labels[index])


def test_a_run_that_ends_within_an_epoch_takes_no_further_batch():
    clock = Clock(num_samples=103, batch_size=10, epochs="14it")
    batches = TrainBatches(make_split(103, 0), clock, Draws(0, 103), Augmentation([]))
    assert [sum(1 for _ in batches.epoch(epoch, step=clock.start(epoch))) for epoch in range(2)] == [11, 3]


@pytest.mark.parametrize("at_once", [1, 30, 70, 2**20])
def test_how_many_batches_are_augmented_at_once_changes_no_sample(monkeypatch, at_once):
    split, clock, draws = make_split(103, 0), Clock(num_samples=103, batch_size=10, epochs=2), Draws(0, 103)
    operations = [Crop(padding=1), Flip()]
    monkeypatch.setitem(inputs.AHEAD_BYTES, "cpu", at_once * split.sample_bytes)
    batches = TrainBatches(split, clock, draws, Augmentation(operations))
    for step in (11, 14, 22):  # from an epoch's start, within it, and from its end
        given = list(batches.epoch(1, step=step))
        assert [len(index) for _, _, index in given] == [10] * (21 - step) + [3] * (step < 22)
        for images, labels, index in given:
            expected = split.images[index]
            for operation in operations:
                expected, _ = operation(expected, None, draws.at(1, step, index))
            assert torch.equal(images, expected) and torch.equal(labels, split.labels[index])
