import pytest
import torch
from torch import nn

from cnntrain.engine.views import averaged, check_views
from cnntrain.errors import ConfigError


@pytest.fixture
def net():
    """Sees where in the picture something is."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6 * 6, 4))


@pytest.fixture
def inputs():
    return torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def moved(inputs, step):
    """Each pixel from (row + step, column + step), mirrored at the edge."""
    rows = [place + step for place in range(8)]
    rows = [-place if place < 0 else 14 - place if place > 7 else place for place in rows]
    return inputs[:, :, rows][:, :, :, rows]


def test_none_is_the_model(net, inputs):
    assert torch.equal(averaged(net, inputs, "none"), net(inputs))


def test_mirror_is_half_each(net, inputs):
    torch.testing.assert_close(averaged(net, inputs, "mirror"), (net(inputs) + net(inputs.flip(3))) / 2)


def test_mirror_shift_is_half_unmoved_and_a_quarter_each_of_two_moves(net, inputs):
    def both(images):
        return (net(images) + net(images.flip(3))) / 2

    expected = 0.5 * both(inputs) + 0.25 * both(moved(inputs, 1)) + 0.25 * both(moved(inputs, -1))
    torch.testing.assert_close(averaged(net, inputs, "mirror_shift"), expected)


@pytest.mark.parametrize("tta", ["mirror", "mirror_shift"])
def test_a_mirrored_picture_is_seen_as_the_picture(net, inputs, tta):
    symmetric = inputs + inputs.flip(3)
    torch.testing.assert_close(averaged(net, symmetric, "mirror"), net(symmetric))
    assert averaged(net, inputs.bfloat16().float(), tta).dtype == torch.float32
    if tta == "mirror":
        torch.testing.assert_close(averaged(net, inputs.flip(3), tta), averaged(net, inputs, tta))


class Darker(nn.Module):
    """Gives pictures, in which a place is told from its mirror image."""

    def forward(self, inputs):
        return inputs * torch.linspace(0, 1, inputs.shape[3])


def test_pictures_of_mirror_images_are_turned_back(inputs):
    ramp = torch.linspace(0, 1, 8)
    torch.testing.assert_close(averaged(Darker(), inputs, "mirror"), inputs * (ramp + ramp.flip(0)) / 2)
    assert torch.equal(averaged(Darker(), inputs, "none"), Darker()(inputs))


def test_pictures_of_moved_ones_are_refused(inputs):
    with pytest.raises(ConfigError, match="lack an edge.*tta=mirror"):
        averaged(Darker(), inputs, "mirror_shift")
    with pytest.raises(ConfigError):
        check_views("mirror_shift", "images")
    check_views("mirror_shift", "logits")
    check_views("mirror", "images")
