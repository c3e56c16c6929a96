"""Sizes and padding (SPEC L2) against their formulas and against torch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.window import Window, final_map_size, output_size, padding_sides, span

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


@given(sizes, kernels, strides, st.integers(0, 6), st.integers(1, 4))
def test_dilation_as_torch_has_it(size, kernel, stride, padding, dilation):
    out = output_size(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    wide = dilation * (kernel - 1) + 1
    assert span(kernel, dilation) == wide
    if size + 2 * padding < wide:
        assert out == 0
        return
    assert out == (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta")
    assert out == layer(torch.empty(1, 1, size, size, device="meta")).shape[-1]


@given(sizes, kernels, strides, st.integers(1, 4))
def test_names_with_dilation(size, kernel, stride, dilation):
    kind = {"kernel": kernel, "stride": stride, "dilation": dilation}
    wide = span(kernel, dilation)
    assert output_size(size, padding="same", **kind) == math.ceil(size / stride)
    assert output_size(size, padding="valid", **kind) == max(math.ceil((size - wide + 1) / stride), 0)
    assert output_size(size, padding="full", **kind) == math.ceil((size + wide - 1) / stride)
    assert padding_sides("full", size=size, **kind) == (wide - 1, wide - 1)


@given(sizes, kernels, strides, st.integers(0, 6))
def test_rounding_up_as_torch_has_it(size, kernel, stride, padding):
    padding = min(padding, kernel // 2)  # torch allows a pool no more
    out = output_size(size, kernel=kernel, stride=stride, padding=padding, ceil=True)
    try:
        expected = nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)(torch.zeros(1, size, size)).shape[-1]
    except RuntimeError:
        expected = 0
    assert out == expected


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
    with pytest.raises(ConfigError, match="15x15 are too small for Net: layer pool2 has a 2x2 window, its map is 1x1.*data.image_size=16,"):
        final_map_size(15, lambda _: windows, net="Net")
    with pytest.raises(ConfigError, match="layer conv2 has a 5x5 window, its map is 3x3"):
        final_map_size(10, lambda _: windows, net="Net")
    dilated = [Window("fc6", 3, padding=2, dilation=6)]
    with pytest.raises(ConfigError, match="layer fc6 has a 13x13 window, its map is 8x8.*data.image_size=9,"):
        final_map_size(8, lambda _: dilated, net="Net")
    assert final_map_size(3, lambda _: [Window("pool1", 4, 2, ceil=True)], net="Net") == 1
