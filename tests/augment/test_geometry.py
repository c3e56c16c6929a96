"""Crop, shift, flip, rotate and cutout against their definitions."""

import math
from collections import Counter

import pytest
import torch

from cnntrain.augment.crop import Crop
from cnntrain.augment.cutout import Cutout
from cnntrain.augment.flip import Flip
from cnntrain.augment.rotate import Rotate, rotate
from cnntrain.augment.shift import Shift
from cnntrain.draws import Draws
from cnntrain.errors import ConfigError


class Fixed:
    """Draws that are the given numbers."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        self.rows = torch.tensor(rows)

    def uniform(self, operation: str, columns: int = 1) -> torch.Tensor:
        assert self.rows.shape[1] == columns
        return self.rows


def many(number: int):
    return Draws(0, number).at(0, 0, torch.arange(number))


def offsets(operation, number: int, size: int) -> Counter:
    """How often each movement of the picture comes, found from a picture whose pixels are all different."""
    images = torch.arange(1, size * size + 1).reshape(1, 1, size, size).expand(number, 1, size, size).to(torch.int16)
    centre = operation(images, None, many(number))[0][:, 0, size // 2, size // 2].long() - 1
    return Counter(zip((centre // size - size // 2).tolist(), (centre % size - size // 2).tolist(), strict=True))


@pytest.mark.parametrize(("operation", "reach"), [(Crop(padding=4), 4), (Crop(padding=3, mode="reflect"), 3), (Shift(pixels=2), 2)])
def test_all_offsets_equally_often(operation, reach):
    """All (2p + 1)² movements come, with the frequencies of a uniform draw (chi-square, five standard deviations)."""
    number = 20_000
    counts = offsets(operation, number, size=2 * reach + 5)
    places = (2 * reach + 1) ** 2
    assert set(counts) == {(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)}
    expected = number / places
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert abs(chi_square - (places - 1)) < 5 * math.sqrt(2 * (places - 1))


def test_largest_draw_stays_inside():
    """The largest float32 below one chooses the last window, for any padding."""
    below_one = 1 - 2**-24
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    for padding in range(1, 80):
        result = Crop(padding=padding)(image, None, Fixed((below_one, below_one)))[0]
        assert torch.equal(result[0, 0, : max(0, 5 - padding), : max(0, 5 - padding)], image[0, 0, padding:, padding:])
        assert result.flatten()[-1] == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("operation", "mode"),
    [(Crop(padding=2), "constant"), (Crop(padding=2, mode="reflect"), "reflect"), (Shift(pixels=2, fill="edge"), "replicate")],
)
def test_windows_equal_slices(operation, mode, layout):
    """Each sample is the slice of its own padded picture."""
    images = torch.randint(0, 256, (25, 3, 6, 7), dtype=torch.uint8).contiguous(memory_format=layout)
    places = [(y, x) for y in range(5) for x in range(5)]
    result = operation(images, None, Fixed(*(((y + 0.5) / 5, (x + 0.5) / 5) for y, x in places)))[0]
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode=mode)
    for sample, (y, x) in enumerate(places):
        assert torch.equal(result[sample].float(), padded[sample, :, y : y + 6, x : x + 7])


def test_reflection_wider_than_the_picture():
    """It is told in one line."""
    with pytest.raises(ConfigError, match=r"reflected border of 5 pixels is wider than the 5-pixel picture .*augment.crop.padding"):
        Crop(padding=5, mode="reflect")(torch.zeros(1, 1, 5, 5), None, Fixed((0.0, 0.0)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_flip_is_per_sample(dtype):
    """Exactly the samples whose draw is below p are mirrored, and only along the width."""
    images = torch.randint(0, 256, (4, 3, 5, 6)).to(dtype)
    result = Flip(p=0.5)(images, None, Fixed((0.4,), (0.5,), (0.9,), (0.0,)))[0]
    expected = torch.stack([images[0].flip(2), images[1], images[2], images[3].flip(2)])
    assert torch.equal(result, expected)


def test_alternating_flip_shows_each_picture_both_ways_in_any_two_epochs():
    flip, draws = Flip(mode="alternating"), Draws(0, 200)
    images = torch.arange(200 * 4, dtype=torch.uint8).reshape(200, 1, 1, 4)
    seen = [flip(images, images, draws.at(epoch, 0, torch.arange(200)))[0] for epoch in range(4)]
    mirrored = [(one != images).flatten(1).any(1) for one in seen]
    assert torch.equal(mirrored[0], ~mirrored[1]) and torch.equal(mirrored[0], mirrored[2]) and torch.equal(mirrored[1], mirrored[3])
    assert 70 < mirrored[0].sum() < 130
    assert torch.equal(flip(images[5:9], images, Draws(0, 200).at(3, 9, torch.arange(5, 9)))[0], seen[3][5:9]), "a function of position"
    assert not torch.equal(flip(images, images, Draws(1, 200).at(0, 0, torch.arange(200)))[0], seen[0])


def test_flip_probability():
    """P is the share of mirrored samples; 0 and 1 are none and all."""
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    share = {p: Flip(p=p)(images, None, many(10_000))[0][:, 0, 0, 0].float().mean().item() for p in (0.0, 0.3, 1.0)}
    assert share[0.0] == 0 and share[1.0] == 1 and abs(share[0.3] - 0.3) < 0.025


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_quarter_turns_are_exact(size, quarters):
    """A turn by 90° moves pixels without blending, counter-clockwise for a positive angle."""
    images = torch.rand(2, 3, size, size)
    turned = rotate(images, torch.full((2,), quarters * math.pi / 2))
    torch.testing.assert_close(turned, torch.rot90(images, quarters, (2, 3)), rtol=0, atol=2e-6)


def test_rotation_of_a_wide_picture_keeps_distances():
    """Pixels stay square where height and width differ: a bar of length 5 still has length 5 when it stands upright."""
    images = torch.zeros(1, 1, 7, 11)
    images[0, 0, 3, 3:8] = 1
    turned = rotate(images, torch.tensor([math.pi / 2]))
    expected = torch.zeros(1, 1, 7, 11)
    expected[0, 0, 1:6, 5] = 1
    torch.testing.assert_close(turned, expected, rtol=0, atol=2e-6)


def test_rotation_range_and_fill():
    """Angles run from -degrees to +degrees; corners take the fill value, or the edge's."""
    images = torch.full((1, 1, 9, 9), 0.5)
    assert torch.equal(Rotate(degrees=45)(images, None, Fixed((0.5,)))[0], images)
    assert Rotate(degrees=45, fill=1.0)(images, None, Fixed((0.0,)))[0][0, 0, 0, 0] == 1
    assert Rotate(degrees=45)(images, None, Fixed((0.0,)))[0][0, 0, 0, 0] == 0
    torch.testing.assert_close(Rotate(degrees=45, fill="edge")(images, None, Fixed((0.0,)))[0], images)
    picture = torch.rand(1, 1, 9, 9)
    torch.testing.assert_close(Rotate(degrees=30)(picture, None, Fixed((0.0,)))[0], rotate(picture, torch.tensor([-math.pi / 6])))


def test_rotation_stays_in_range():
    """Weights that sum to a little over one do not carry white over 1 or black under 0."""
    angles = torch.linspace(-3, 3, 500)
    white = torch.ones(500, 1, 13, 13)
    assert rotate(white, angles).max() == 1 and rotate(white, angles, "edge").max() == 1
    assert rotate(1 - white, angles, 0.7).min() == 0


@pytest.mark.parametrize(("size", "area"), [(1, 1), (4, 16), (5, 25)])
def test_cutout_square(size, area):
    """A centre inside blanks exactly size² pixels of all channels; one in the corner is clipped."""
    images = torch.full((2, 3, 12, 12), 200, dtype=torch.uint8)
    result = Cutout(size=size)(images, None, Fixed((0.5, 0.5), (0.0, 0.0)))[0]
    assert ((result == 0).sum((2, 3))[0] == area).all()
    assert ((result == 0).sum((2, 3))[1] == math.ceil(size / 2) ** 2).all()
    assert (result[0, :, 6, 6] == 0).all()


def test_cutout_mean_colour():
    """The square takes each channel's own mean."""
    images = torch.rand(1, 3, 8, 8)
    result = Cutout(size=2, fill="mean")(images, None, Fixed((0.5, 0.5)))[0]
    torch.testing.assert_close(result[0, :, 4, 4], images.mean((2, 3))[0])
    assert (result == images).sum() == 3 * (64 - 4)
    assert Cutout().exact_on_bytes and not Cutout(fill="mean").exact_on_bytes
