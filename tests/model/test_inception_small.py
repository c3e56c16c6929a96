"""Inception (small): the figure's channels, the paper's count, and norms that only shift."""

import pytest
import torch
from torch import nn

from cnntrain.engine.shapes import check_shapes
from cnntrain.errors import ConfigError
from cnntrain.model.inception_small import InceptionSmall


@pytest.mark.parametrize(("image_size", "sizes"), [(28, (28, 14, 7)), (32, (32, 16, 8)), (29, (29, 15, 8))])
def test_maps(image_size, sizes):
    with torch.device("meta"):
        net = InceptionSmall(in_channels=3, num_classes=10)
    seen = []
    for module in net.inception:
        module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    assert net(torch.empty(2, 3, image_size, image_size, device="meta")).shape == (2, 10)
    large, middle, small = sizes
    channels = [64, 80, 160, 160, 160, 160, 144, 240, 336, 336]
    heights = [large] * 2 + [middle] * 5 + [small] * 3
    assert seen == [(c, size, size) for c, size in zip(channels, heights, strict=True)]


def test_parameter_count():
    net = InceptionSmall(in_channels=3, num_classes=10)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trained) == 1_649_402  # the paper's table 1
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and not norm.weight.requires_grad and norm.bias.requires_grad for norm in norms)


def test_too_small_an_image_is_an_error_with_the_smallest():
    with pytest.raises(ConfigError, match="inception.7.*images of 3×3"):
        check_shapes(lambda _: InceptionSmall(in_channels=3, num_classes=10), 3, 2, 10)
