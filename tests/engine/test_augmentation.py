"""Bytes as long as they are exact, then floats."""

import torch

from cnntrain.engine.augmentation import Augmentation


class Spy:
    """Records the dtype it sees; adds one to the targets."""

    def __init__(self, exact: bool | None, samplewise: bool = False) -> None:
        if exact is not None:
            self.exact_on_bytes = exact
        self.samplewise = samplewise

    def __call__(self, images, targets, draws):
        self.seen, self.draws = images.clone(), draws
        return images, targets + 1


def run(*kinds):
    spies = [Spy(kind) for kind in kinds]
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    result, targets = Augmentation(spies)(images, torch.zeros(1, 2), "draws")
    assert images.flatten().tolist() == [0, 51, 255]
    assert all(spy.draws == "draws" for spy in spies)
    assert targets.tolist() == [[len(kinds)] * 2]
    return result, [spy.seen.dtype for spy in spies]


def test_bytes_stay_bytes():
    """Without a float operation nothing is converted."""
    for kinds in ((), (True,), (True, True)):
        result, seen = run(*kinds)
        assert result.dtype == torch.uint8 and seen == [torch.uint8] * len(kinds)


def test_conversion_before_the_first_float_operation():
    """An operation that says nothing is taken for a float one; exact ones behind it work on float."""
    result, seen = run(True, None, True, False)
    assert seen == [torch.uint8, torch.float32, torch.float32, torch.float32]
    torch.testing.assert_close(result.flatten(), torch.tensor([0.0, 0.2, 1.0]), rtol=0, atol=0)


def test_only_exact_and_samplewise_operations_at_the_head_work_ahead():
    """A float operation ends them, even if it is samplewise; so does one that draws for the batch."""
    images = torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
    for kinds, expected in [
        ([(True, True), (True, True), (True, False), (True, True)], 2),
        ([(True, True), (False, True), (True, True)], 1),
        ([(None, True)], 0),
        ([], 0),
    ]:
        spies = [OfPixels(*kind) for kind in kinds]
        augmentation = Augmentation(spies)
        augmentation.ahead(images, "draws")
        assert [hasattr(spy, "seen") for spy in spies] == [place < expected for place in range(len(spies))]
        augmentation(images, torch.zeros(1, 2), "draws")
        assert [spy.times for spy in spies] == [1] * len(spies)


class OfPixels(Spy):
    """Leaves targets alone, and counts its calls."""

    times = 0

    def __call__(self, images, targets, draws):
        self.times += 1
        self.seen = images.clone()
        return images, targets
