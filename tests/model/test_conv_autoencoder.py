"""ConvAutoencoder: any size comes back as it went in; code and parameters by arithmetic."""

import pytest
import torch

from cnntrain.errors import ConfigError
from cnntrain.model.conv_autoencoder import ConvAutoencoder


def net(widths=(4, 6), code_channels=3, in_channels=2, image_size=8):
    return ConvAutoencoder(widths=list(widths), code_channels=code_channels, in_channels=in_channels, image_size=image_size)


def test_parameters_by_arithmetic():
    """3×3 down and 4×4 up between the widths, 1×1 to the code and back, two numbers for each norm's channel, biases at both ends."""
    chain, code = (1, 32, 64, 128), 16
    pairs = list(zip(chain, chain[1:], strict=False))
    down = sum(9 * a * b + 2 * b for a, b in pairs)
    up = sum(16 * a * b for a, b in pairs) + 2 * (32 + 64) + 1
    between = 128 * code + code + code * 128 + 2 * 128
    found = sum(value.numel() for value in net(chain[1:], code, 1, 28).parameters())
    assert found == down + up + between == 261_809


@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 5)])
@pytest.mark.parametrize("size", [1, 2, 5, 7, 8, 28])
def test_any_size_comes_back(widths, size):
    model, images = net(widths, image_size=size).eval(), torch.randn(2, 2, size, size)
    halved = -(-size // 2 ** len(widths))
    code = model.encode(images)
    assert code.shape == (2, 3, halved, halved)
    assert model.decode(code).shape == (2, 2, *[halved * 2 ** len(widths)] * 2) and model(images).shape == images.shape
    assert torch.equal(model(images), model.decode(code)[:, :, :size, :size])
    assert model.choices == {"code": f"3x{halved}x{halved} = {3 * halved**2:,} numbers of {2 * size**2:,}"}


def test_sides_may_differ():
    assert net().eval()(torch.zeros(1, 2, 9, 14)).shape == (1, 2, 9, 14)


def test_a_pixel_is_rebuilt_where_it_was():
    """The code's pixels lie over the picture's: what is changed at one end of the picture changes nothing at the other."""
    torch.manual_seed(0)
    model, image = net((4, 6), image_size=32).eval(), torch.randn(1, 2, 32, 32)
    other = image.clone()
    other[:, :, :4, :4] += 1
    changed = (model(other) - model(image)).abs().amax((0, 1))
    assert changed[:4, :4].min() > 0 and not changed[20:].any() and not changed[:, 20:].any()


def test_no_layers_is_an_error():
    with pytest.raises(ConfigError, match=r"model.widths=\[32,64,128\]"):
        net(())
