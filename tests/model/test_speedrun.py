import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.speedrun import SpeedrunNet

FACTS = {"in_channels": 3, "num_classes": 10, "image_size": 32}
SMALL = {"widths": (4, 6, 5), **FACTS}


def test_parameters_by_arithmetic():
    """The whitening layer, two (three) 3×3 convolutions a group, a bias for each norm, the head without bias."""
    widths, chain = (8, 12, 16), (24, 8, 12, 16)
    for convs in (2, 3):
        net = SpeedrunNet(widths=widths, convs=convs, **FACTS)
        filters = sum(9 * (a * b + (convs - 1) * b * b) for a, b in zip(chain, chain[1:], strict=False))
        assert sum(p.numel() for p in net.parameters()) == 24 * 12 + 24 + filters + convs * sum(widths) + 10 * 16
    net = SpeedrunNet(widths=widths, norm_scale=True, **FACTS)
    assert sum(p.numel() for name, p in net.named_parameters() if "norm" in name) == 4 * sum(widths)


def test_shapes_on_the_way():
    """As in the paper's code at 32×32; the last pool takes the whole map, also a larger one."""
    net, shapes = SpeedrunNet(**FACTS), []
    for module in (net.whiten, net.group1, net.group2, net.group3, net.pool):
        module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(2, 3, 32, 32))
    assert shapes == [(24, 31, 31), (64, 15, 15), (256, 7, 7), (256, 3, 3), (256,)]
    assert net(torch.zeros(2, 3, 50, 50)).shape == (2, 10)


def test_the_computation_of_a_group():
    torch.manual_seed(0)
    net = SpeedrunNet(convs=3, residual=True, **SMALL).eval()
    group, x = net.group1, torch.randn(2, 24, 9, 9)
    first = nn.functional.gelu(group.norm1(nn.functional.max_pool2d(group.conv1(x), 2)))
    second = nn.functional.gelu(group.norm2(group.conv2(first)))
    torch.testing.assert_close(group(x), nn.functional.gelu(group.norm3(group.conv3(second)) + first))
    assert not torch.equal(group(x), SpeedrunNet(convs=3, **SMALL).eval().group1(x))


def test_identity_initialisation_passes_channels_through():
    net = SpeedrunNet(**SMALL)
    x = torch.randn(1, 4, 7, 7)
    torch.testing.assert_close(net.group1.conv2(x), x)
    assert torch.equal(net.group2.conv1(x)[:, :4], x), "the first 4 of 6 filters; the others are random"
    assert net.group2.conv1.weight[4:].count_nonzero() > 4 * 9
    assert SpeedrunNet(identity_init=False, **SMALL).group1.conv2.weight.count_nonzero() == 4 * 4 * 9


def test_batch_norm_trains_its_bias_alone_and_moves_by_its_momentum():
    net = SpeedrunNet(norm_momentum=0.25, **SMALL)
    norm = net.group1.norm1
    assert [name for name, _ in norm.named_parameters()] == ["bias"] and norm.momentum == 0.25
    x = torch.randn(3, 4, 5, 5)
    scaled = nn.BatchNorm2d(4)
    torch.testing.assert_close(norm(x), scaled(x))
    assert set(norm.state_dict()) == {"bias", "running_mean", "running_var", "num_batches_tracked"}


def test_logits_are_scaled():
    net = SpeedrunNet(head_scale=0.5, **SMALL).eval()
    x = torch.randn(2, 3, 16, 16)
    before = net(x)
    net.head_scale = 1.0
    torch.testing.assert_close(net(x), 2 * before)


def test_activation():
    kinds = {type(module) for module in SpeedrunNet(activation="relu", **SMALL).modules()}
    assert nn.ReLU in kinds and nn.GELU not in kinds


def test_the_smallest_image_is_named():
    SpeedrunNet(**{**SMALL, "image_size": 9})
    with pytest.raises(ConfigError, match=r"8x8 are too small for SpeedrunNet: layer group3.pool .* its map is 1x1") as error:
        SpeedrunNet(**{**SMALL, "image_size": 8})
    assert "data.image_size=9," in error.value.fix
