"""PixelMajorFlatten: its order, in any memory format, without a copy in channels_last."""

import torch

from cnntrain.layer.flatten import PixelMajorFlatten


def test_order_and_copies():
    x = torch.arange(24.0).view(1, 2, 3, 4)
    out = PixelMajorFlatten()(x)
    assert out.shape == (1, 24)
    assert out[0, :4].tolist() == [0, 12, 1, 13]  # both channels of the first pixel, of the second, …
    last = x.contiguous(memory_format=torch.channels_last)
    view = PixelMajorFlatten()(last)
    assert torch.equal(view, out)
    assert view.data_ptr() == last.data_ptr()
