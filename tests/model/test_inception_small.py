"""Inception (small): the figure's channels, the paper's count, and norms that only shift."""

from typing import get_args

import pytest
import torch
from torch import nn

from cnntrain.config.recipe import check
from cnntrain.engine.shapes import check_shapes
from cnntrain.errors import ConfigError
from cnntrain.layer.join import Joined
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


@pytest.mark.parametrize("join", get_args(Joined))
def test_branches_meet_as_the_config_says_and_learn(join):
    recipe = check({"_target_": "cnntrain.model.inception_small.InceptionSmall", "join": join}, place="model")
    torch.manual_seed(0)
    net = recipe(in_channels=3, num_classes=4, image_size=8)
    module, x = net.inception[0], torch.randn(2, 96, 8, 8)
    one, three = module.eval().branch1(x), module.branch2(x)
    match join:
        case "concatenation":
            expected = torch.cat([one, three], dim=1)
        case "sum":
            expected = one + three
        case "mean":
            expected = (one + three) / 2
        case "maximum":
            expected = torch.maximum(one, three)
    torch.testing.assert_close(module(x), expected)
    assert expected.shape[1] == module.out_channels == 64
    net.train()
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 4
    optimizer = torch.optim.SGD([value for value in net.parameters() if value.requires_grad], lr=0.05)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(value.grad is not None and value.grad.isfinite().all() for value in net.parameters() if value.requires_grad)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_too_small_an_image_is_an_error_with_the_smallest():
    with pytest.raises(ConfigError, match="inception.7.*image_size=3"):
        check_shapes(lambda _: InceptionSmall(in_channels=3, num_classes=10), 3, 2, 10)
