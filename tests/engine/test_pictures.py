"""Pictures: sizes, colours where they must be, and no global state."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from cnntrain.engine import pictures
from cnntrain.engine.pictures import confusion_picture, grid, png, shorten


def block(picture, num_classes):
    """The colours in the middle of each cell of a drawn matrix, found by the frame that differs from the white margins: (K,K,3)."""
    coloured = (picture.astype(int).max(axis=2) - picture.astype(int).min(axis=2)) > 5
    rows, columns = np.nonzero(coloured.mean(axis=1) > 0.02)[0], np.nonzero(coloured.mean(axis=0) > 0.02)[0]
    top, left = rows[0], columns[0]
    height, width = (rows[-1] + 1 - top) / num_classes, (columns[-1] + 1 - left) / num_classes
    # a fifth into the cell, so that the number in its middle is not hit
    return np.array(
        [[picture[int(top + (r + 0.2) * height), int(left + (c + 0.2) * width)] for c in range(num_classes)] for r in range(num_classes)]
    )


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_every_cell_has_the_colour_of_its_share(num_classes):
    counts = torch.eye(num_classes, dtype=torch.int64) * 3
    counts[0, -1] = 9  # row 0: three quarters are taken for the last class
    picture = confusion_picture(counts, [f"class {i}" for i in range(num_classes)])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert 400 <= picture.shape[0] <= 2500 and 400 <= picture.shape[1] <= 2500
    red = block(picture, num_classes)[:, :, 0].astype(int)
    assert red[0, -1] < red[0, 0]  # truth is the row: the other way round would be [-1, 0]
    assert red[0, 0] > red[1, 1]
    assert num_classes == 2 or red[-1, 0] > 200


def test_names_that_break_naive_pictures():
    names = ["$x^{$", "猫 ünï", "line\nbreak", "a" * 300, "%s", "<b>"]
    picture = confusion_picture(torch.zeros(6, 6, dtype=torch.int64), names, title="$\\frac$")
    assert picture.shape[1] < 1500


def test_matplotlib_is_not_imported_for_it_nor_needed(monkeypatch):
    """Its import takes a second at the end of every run."""
    names = ["a", "b", "c"]
    drawn = confusion_picture(torch.eye(3, dtype=torch.int64), names)
    pictures._font.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(ImageFont, "truetype", without(ImageFont.truetype))
    without_its_font = confusion_picture(torch.eye(3, dtype=torch.int64), names)
    pictures._font.cache_clear()
    assert block(without_its_font, 3).tolist() == block(drawn, 3).tolist()


def without(truetype):
    """PIL's own reader of fonts, on a system that has no DejaVu."""

    def read(font=None, *args, **keys):
        if font == "DejaVuSans.ttf":
            raise OSError("cannot open resource")
        return truetype(font, *args, **keys)

    return read


def test_names_stand_left_and_below_and_counts_in_the_cells():
    picture = confusion_picture(torch.tensor([[7, 0], [0, 7]]), ["W", "M"])
    low = picture.min(axis=2)
    coloured = picture.astype(int).max(axis=2) - picture.astype(int).min(axis=2) > 5
    rows, columns = np.nonzero(coloured.mean(axis=1) > 0.02)[0], np.nonzero(coloured.mean(axis=0) > 0.02)[0]
    top, left, side = rows[0], columns[0], columns[-1] + 1 - columns[0]
    middle = low[:, left - 25 : left][top : top + side]
    below = low[top + side : top + side + 25, left : left + side].T
    for strip in (middle, below):  # a name in the middle of each half, nothing between them
        dark = (strip < 128).any(axis=1)
        assert dark[side // 4 - 8 : side // 4 + 8].any() and dark[3 * side // 4 - 8 : 3 * side // 4 + 8].any()
        assert not dark[side // 2 - 20 : side // 2 + 20].any()
    cell = picture[top + side // 4 - 6 : top + side // 4 + 6, left + side // 4 - 6 : left + side // 4 + 6]
    assert (cell > 200).all(axis=2).any(), "a white 7 on dark blue"


def test_the_grid_shows_each_picture_in_its_place():
    images = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1).expand(5, 3, 4, 6) * 10
    picture = grid(images, gap=2)
    assert picture.shape == (3 * 6 - 2, 2 * 8 - 2, 3)  # two columns of six wide, three rows of four high
    for number in range(5):
        row, column = divmod(number, 2)
        assert (picture[row * 6 : row * 6 + 4, column * 8 : column * 8 + 6] == number * 10).all()
    assert (picture[4:6] == 255).all() and (picture[12:, 8:] == 255).all()


def test_bytes_and_floats_give_the_same_grid():
    images = torch.randint(256, (7, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(grid(images), grid(images / 255))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(channels):
    images = torch.full((2, channels, 4, 4), 0.5)
    assert grid(images).shape == (4, 10, 3)
    assert set(np.unique(grid(images))) == {128, 255}


def test_what_is_out_of_range_is_cut_and_the_input_kept():
    images = torch.tensor([-1.0, 2.0, torch.nan, 1.0]).reshape(4, 1, 1, 1).requires_grad_()
    assert grid(images, gap=0)[:, :, 0].flatten().tolist() == [0, 255, 0, 255]
    assert images[0] == -1


def test_only_the_first_pictures_are_shown():
    assert grid(torch.zeros(100, 1, 2, 2), most=9, gap=0).shape == (6, 6, 3)


def test_png_gives_the_picture_back():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)


def test_shorten():
    assert shorten("cat") == "cat"
    assert shorten("a\nb\x1b[31m") == "a·b·[31m"
    assert shorten("x" * 30, width=5) == "xxxx…"
