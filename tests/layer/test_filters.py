"""Fixed filters: what each answers to known pictures."""

import torch

from cnntrain.layer.filters import FixedFilters

ALL = ["sobel_x", "sobel_y", "gaussian", "laplacian"]


def test_ramps_edges_and_flat_pictures():
    across = torch.arange(6.0).expand(1, 1, 6, 6)
    inner = FixedFilters(ALL, 1)(across)[0, :, 2, 2]
    assert inner.tolist() == [8.0, 0.0, 2.0, 0.0]  # brighter to the right: 1+2+1 times the step of 2; the blur keeps a ramp
    assert FixedFilters(ALL, 1)(across.mT)[0, :, 2, 2].tolist() == [0.0, 8.0, 2.0, 0.0]
    flat = FixedFilters(ALL, 1)(torch.full((1, 1, 5, 5), 3.0))
    assert torch.equal(flat[0, :, 0, 0], torch.tensor([0.0, 0.0, 3.0, 0.0])), "the picture's edge is an edge"
    assert all(torch.equal(response, response[0, 0].expand(5, 5)) for response in flat[0])


def test_a_single_bright_pixel():
    spot = torch.zeros(1, 1, 5, 5)
    spot[0, 0, 2, 2] = 16.0
    blurred, spread = FixedFilters(["gaussian", "laplacian"], 1)(spot)[0]
    assert blurred[1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]] and blurred.sum() == 16
    assert spread[2, 2] == -64 and spread[1, 2] == 16 and spread.sum() == 0


def test_each_channel_by_itself_and_the_picture_beside_them():
    x = torch.randn(2, 3, 7, 8)
    layer = FixedFilters(["sobel_x", "gaussian"], 3, keep_image=True)
    out = layer(x)
    assert out.shape == (2, layer.out_channels, 7, 8) == (2, 9, 7, 8)
    assert torch.equal(out[:, 6:], x)
    for channel in range(3):
        torch.testing.assert_close(
            out[:, 2 * channel : 2 * channel + 2], FixedFilters(["sobel_x", "gaussian"], 1)(x[:, channel : channel + 1])
        )
    last = layer(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, out)


def test_nothing_of_it_is_trained():
    layer = FixedFilters(ALL, 2)
    assert not list(layer.parameters()) and set(layer.state_dict()) == {"weight"}
    with torch.device("meta"):
        assert FixedFilters(ALL, 2).weight.is_meta
