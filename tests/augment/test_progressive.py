import pytest
import torch

from cnntrain.augment.progressive import Progressive
from cnntrain.draws import Draws
from cnntrain.engine.clock import Clock

CLOCK = Clock(num_samples=100, batch_size=10, epochs=10)  # 100 steps


def progressive(**changes):
    return Progressive(clock=CLOCK, **changes)


def at(step, *, seed=0, epoch=0):
    return Draws(seed, 100).at(epoch, step, torch.arange(6))


def test_sizes_grow_in_stages_to_the_full_one():
    grow = progressive(start=0.5, until="60%", stages=4, multiple=4)
    assert [grow.size(32, step) for step in (0, 14, 15, 29, 30, 44, 45, 59, 60, 99)] == [16, 16, 20, 20, 24, 24, 28, 28, 32, 32]
    assert grow.sizes(32) == [16, 20, 24, 28, 32]
    assert grow.sizes(28) == [16, 20, 24, 28], "rounded to multiples of 4"


@pytest.mark.parametrize(("changes", "sizes"), [({"start": 1.0}, [28]), ({"start": 0.0, "stages": 1}, [4, 28]), ({"multiple": 64}, [28])])
def test_edges(changes, sizes):
    assert progressive(**changes).sizes(28) == sizes


def test_the_step_decides_and_nothing_is_drawn():
    grow = progressive()
    pictures, targets = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.eye(6)
    before = pictures.clone()
    small, same = grow(pictures, targets, at(0))
    assert small.shape == (6, 3, 16, 16) and same is targets and torch.equal(pictures, before)
    assert small.min() >= 0 and small.max() <= 1
    assert torch.equal(small, grow(pictures, targets, at(3, seed=9, epoch=5))[0])
    assert torch.equal(small[2:4], grow(pictures[2:4], targets[2:4], at(3))[0])
    assert grow(pictures, targets, at(60))[0] is pictures


def test_shrinking_is_antialiased():
    """Stripes become grey, not the colour that happens to lie in the middle; a plain picture stays as it is, to its edge."""
    stripes = ((torch.arange(32) + 1) // 2 % 2).float().expand(1, 1, 32, 32)
    small = progressive(start=0.25)(stripes, torch.ones(1, 2), at(0))[0]
    torch.testing.assert_close(small[:, :, 2:-2, 2:-2], torch.full((1, 1, 4, 4), 0.5), atol=0.02, rtol=0)
    plain = progressive()(torch.full((1, 1, 32, 32), 0.25), torch.ones(1, 2), at(0))[0]
    torch.testing.assert_close(plain, torch.full((1, 1, 16, 16), 0.25))
