"""Bytes as long as they are exact, then floats."""

import torch

from cnntrain.engine.augmentation import Augmentation


class Spy:
    """Records the dtype it sees; adds one to the targets."""

    def __init__(self, exact: bool | None) -> None:
        if exact is not None:
            self.exact_on_bytes = exact

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
