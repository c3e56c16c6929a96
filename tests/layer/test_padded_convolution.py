"""Cross-correlation and convolution, paddings by name, and the arithmetic of all kinds of convolution."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnntrain.layer.padded_convolution import Conv1d, Conv2d, rot180
from cnntrain.layer.window import output_size, padding_sides, span

IMAGE = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]).double()[None, None]
KERNEL = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).double()[None, None]


def weights(layer):
    return sum(value.numel() for value in layer.parameters())


def test_the_textbooks_cross_correlation():
    layer = Conv2d(1, 1, 3, bias=False).double()
    layer.weight.data.copy_(KERNEL)
    assert layer(IMAGE)[0, 0].tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


def test_true_convolution_is_correlation_with_the_turned_kernel():
    torch.manual_seed(0)
    x, k = torch.randn(6, 7).double(), torch.randn(3, 2).double()
    full = torch.zeros(8, 8).double()  # by the definition: each pixel lays down a kernel
    for row in range(6):
        for column in range(7):
            full[row : row + 3, column : column + 2] += x[row, column] * k
    padded = F.pad(x[None, None], (1, 1, 2, 2))
    torch.testing.assert_close(F.conv2d(padded, rot180(k)[None, None])[0, 0], full)
    assert torch.equal(rot180(rot180(k)), k) and rot180(k)[0, 0] == k[-1, -1]


@pytest.mark.parametrize("padding", ["same", "valid", "full", 0, 2])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (2, 1, 1), (2, 3, 2), (3, 2, 3)])
@pytest.mark.parametrize("size", [(11, 11), (12, 9)])
def test_sizes_are_those_of_the_formulas(padding, kernel, stride, dilation, size):
    layer = Conv2d(2, 3, kernel, stride=stride, padding=padding, dilation=dilation)
    image = torch.ones(1, 2, *size)
    out = layer(image)
    expected = [output_size(n, kernel=kernel, stride=stride, padding=padding, dilation=dilation) for n in size]
    assert list(out.shape[2:]) == expected
    if padding == "same":
        assert expected == [math.ceil(n / stride) for n in size]
    if padding == "valid":
        assert expected == [math.ceil((n - span(kernel, dilation) + 1) / stride) for n in size]
    torch.testing.assert_close(layer(image.contiguous(memory_format=torch.channels_last)), out)


def test_an_uneven_same_pads_more_at_the_end():
    layer = Conv2d(1, 1, 2, padding="same", bias=False)
    layer.weight.data.fill_(1)
    out = layer(torch.ones(1, 1, 3, 3))[0, 0]
    assert out[0, 0] == 4 and out[-1, -1] == 1


def test_weights_are_torchs_by_name_and_the_start_too():
    torch.manual_seed(0)
    theirs = nn.Conv2d(4, 6, 3, groups=2).state_dict()
    torch.manual_seed(0)
    ours = Conv2d(4, 6, 3, groups=2, padding="same").state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs)
    assert "padding='same'" in repr(Conv2d(4, 6, 3, padding="same"))


def test_sizes_and_counts_of_the_specification():
    image = torch.zeros(1, 3, 32, 32)
    assert Conv2d(3, 10, 5, padding="valid")(image).shape == (1, 10, 28, 28)
    assert Conv2d(3, 10, 3, padding="valid")(image).shape == (1, 10, 30, 30)
    assert weights(Conv2d(3, 1, 3)) == 28  # whatever the image's size


def test_the_textbooks_transposed_convolution():
    x = torch.tensor([[2.0, 4.0], [0.0, 1.0]])[None, None]
    k = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    assert F.conv_transpose2d(x, k)[0, 0].tolist() == [[2, 8, 14, 12], [8, 27, 34, 27], [14, 48, 55, 42], [0, 7, 8, 9]]
    dense = F.conv2d(F.pad(x, (2, 2, 2, 2)), rot180(k))  # the wide true convolution
    torch.testing.assert_close(F.conv_transpose2d(x, k), dense)


def test_two_groups_have_half_the_weights():
    assert weights(Conv2d(96, 256, 5, groups=2, bias=False)) == 5 * 5 * 48 * 128 * 2 == weights(Conv2d(96, 256, 5, bias=False)) // 2


@pytest.mark.parametrize(("kernel", "dilation", "expected"), [(3, 1, 3), (3, 2, 5), (3, 6, 13), (1, 5, 1)])
def test_a_dilated_kernels_span(kernel, dilation, expected):
    assert span(kernel, dilation) == expected
    impulse = torch.zeros(1, 1, 31, 31)
    impulse[0, 0, 15, 15] = 1
    seen = F.conv2d(impulse, torch.ones(1, 1, kernel, kernel), padding=15, dilation=dilation)[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [expected, expected]


def test_ssds_fc6_keeps_its_map():
    assert output_size(19, kernel=3, padding=6, dilation=6) == 19
    with torch.device("meta"):
        assert Conv2d(512, 1024, 3, padding=6, dilation=6)(torch.zeros(1, 512, 19, 19)).shape == (1, 1024, 19, 19)


@pytest.mark.parametrize(("padding", "length"), [("valid", 10), ("same", 12), ("full", 14)])
def test_narrow_equal_and_wide_convolution_in_one_and_two_dimensions(padding, length):
    size, kernel = 12, 3  # M - F + 1, M, M + F - 1
    assert output_size(size, kernel=kernel, padding=padding) == length
    torch.manual_seed(0)
    x, k = torch.randn(size).double(), torch.randn(kernel).double()
    layer = Conv1d(1, 1, kernel, padding=padding, bias=False).double()
    layer.weight.data.copy_(k.flip(0))
    ours = layer(x[None, None])[0, 0].detach()
    assert np.allclose(ours.numpy(), np.convolve(x.numpy(), k.numpy(), padding))  # numpy has the same three words
    assert len(ours) == length
    assert Conv2d(1, 1, kernel, padding=padding)(torch.ones(1, 1, size, size)).shape[2:] == (length, length)


@pytest.mark.parametrize("padding", ["same", "valid", "full", 2])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (2, 1, 1), (5, 2, 1), (2, 3, 2)])
def test_a_convolution_of_lines_is_that_of_maps_of_one_row(padding, kernel, stride, dilation):
    torch.manual_seed(0)
    given = {"stride": stride, "padding": padding, "dilation": dilation}
    layer, x = Conv1d(4, 6, kernel, groups=2, **given).double(), torch.randn(2, 4, 11).double()
    out = layer(x)
    assert out.shape[2] == output_size(11, kernel=kernel, **given)
    before, after = padding_sides(padding, size=11, kernel=kernel, stride=stride, dilation=dilation)
    columns = F.pad(x, (before, after))[:, :, None]
    expected = F.conv2d(columns, layer.weight[:, :, None], layer.bias, (1, stride), 0, (1, dilation), 2)
    torch.testing.assert_close(out, expected[:, :, 0])
    assert layer.state_dict().keys() == nn.Conv1d(4, 6, kernel).state_dict().keys() and f"padding={padding!r}" in repr(layer)


def test_a_1x1_convolution_is_a_dense_layer_over_the_channels():
    torch.manual_seed(0)
    layer, x = Conv2d(5, 7, 1).double(), torch.randn(2, 5, 3, 4).double()
    dense = F.linear(x.permute(0, 2, 3, 1), layer.weight[:, :, 0, 0], layer.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), dense)
