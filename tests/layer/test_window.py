"""Sizes and padding (SPEC L2) against their formulas and against torch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.window import Window, final_map_size, output_size, padding_sides

sizes, kernels, strides = st.integers(1, 40), st.integers(1, 12), st.integers(1, 5)


@given(sizes, kernels, strides)
def test_same_and_valid(size, kernel, stride):
    assert output_size(size, kernel=kernel, stride=stride, padding="same") == math.ceil(size / stride)
    assert output_size(size, kernel=kernel, stride=stride, padding="valid") == max(math.ceil((size - kernel + 1) / stride), 0)
    before, after = padding_sides("same", size=size, kernel=kernel, stride=stride)
    assert 0 <= after - before <= 1


@given(sizes, kernels, strides, st.integers(0, 6))
def test_numbers_as_torch_has_them(size, kernel, stride, padding):
    out = output_size(size, kernel=kernel, stride=stride, padding=padding)
    if size + 2 * padding >= kernel:
        assert out == nn.Conv2d(1, 1, kernel, stride, padding, device="meta")(torch.empty(1, 1, size, size, device="meta")).shape[-1]
    else:
        assert out == 0


@given(sizes, kernels)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's own remark about its own way
def test_same_of_stride_1_as_torch_has_it(size, kernel):
    image, weight = torch.arange(float(size * size)).view(1, 1, size, size), torch.rand(1, 1, kernel, kernel)
    before, after = padding_sides("same", size=size, kernel=kernel)
    ours = nn.functional.conv2d(nn.functional.pad(image, (before, after, before, after)), weight)
    torch.testing.assert_close(ours, nn.functional.conv2d(image, weight, padding="same"))


def test_figures_of_the_specification():
    assert output_size(32, kernel=5, padding="valid") == 28
    assert output_size(32, kernel=3, padding="valid") == 30


def test_final_map_size():
    windows = [Window("conv1", 5), Window("pool1", 2, 2), Window("conv2", 5), Window("pool2", 2, 2)]
    assert final_map_size(32, lambda _: windows, net="Net") == 5
    with pytest.raises(ConfigError, match="15x15 are too small for Net: layer pool2 has a 2x2 window, its map is 1x1.*at least 16x16"):
        final_map_size(15, lambda _: windows, net="Net")
    with pytest.raises(ConfigError, match="layer conv2 has a 5x5 window, its map is 3x3"):
        final_map_size(10, lambda _: windows, net="Net")
