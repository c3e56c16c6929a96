"""Inception-v4 and the Inception-ResNets: sizes, numbers of modules, scaled residuals, and the smallest image."""

import pytest
import torch
from torch import nn

from cnntrain.model.inception_v4 import AVERAGE, Conv, Fork, InceptionResNet, InceptionV4, Residual

NETS = {
    "v4": InceptionV4,
    "v1": lambda **facts: InceptionResNet(version=1, **facts),
    "v2": lambda **facts: InceptionResNet(version=2, **facts),
}


CHANNELS = {"v4": (384, 1024, 1536), "v1": (256, 896, 1792), "v2": (320, 1088, 2080)}


def on_meta(name, image_size, **arguments):
    with torch.device("meta"):
        return NETS[name](in_channels=3, num_classes=1000, image_size=image_size, **arguments)


def reduced(net, image_size):
    """(channels, height, width) of the maps that the A, B and C modules get and keep."""
    x = net.stem(torch.empty(2, 3, image_size, image_size, device="meta"))
    y = net.reduction_a(x)
    return [tuple(out.shape[1:]) for out in (x, y, net.reduction_b(y))]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(  # the net of an image size, and what maps it makes of this and other sizes; the last one is too small
    ("image_size", "sizes", "too_small"),
    [(299, {299: (35, 17, 8), 75: (7, 3, 1)}, 74), (74, {74: (74, 36, 17), 32: (32, 15, 7), 7: (7, 3, 1)}, 6)],
)
def test_map_sizes(name, image_size, sizes, too_small):
    net = on_meta(name, image_size)
    for size, maps in sizes.items():
        assert reduced(net, size) == [(c, side, side) for c, side in zip(CHANNELS[name], maps, strict=True)]
    with pytest.raises(RuntimeError, match="[Kk]ernel size|too small"):
        reduced(net, too_small)


@pytest.mark.parametrize(("name", "modules"), [("v4", (4, 7, 3)), ("v1", (5, 10, 5)), ("v2", (10, 20, 10))])
def test_numbers_of_modules_which_keep_the_map(name, modules):
    net = on_meta(name, 32)
    assert (len(net.a), len(net.b), len(net.c)) == modules
    for stage, channels in zip((net.a, net.b, net.c), CHANNELS[name], strict=True):
        x = torch.empty(1, channels, 5, 5, device="meta")
        assert all(module(x).shape == x.shape for module in (stage[0], stage[-1]))
    logits = net.fc(net.flatten(net.avgpool(getattr(net, "final", nn.Identity())(x))))
    assert logits.shape == (1, 1000)


@pytest.mark.parametrize(("name", "count"), [("v4", 42_679_816), ("v1", 22_756_328), ("v2", 55_843_464)])  # SPEC N9
def test_parameter_counts(name, count):
    assert sum(parameter.numel() for parameter in on_meta(name, 299).parameters()) == count


def test_a_fork_joins_its_chains_and_forks_within_them():
    fork = Fork(3, [Conv(2)], [Conv(4, 3), ([Conv(5, (1, 3))], [Conv(6, (3, 1))])], [AVERAGE, Conv(7)]).eval()
    x = torch.randn(1, 3, 5, 5)
    out = fork(x)
    assert out.shape == (1, 20, 5, 5) and fork.out_channels == 20
    first, second, third = fork.branches
    assert torch.equal(out[:, :2], first(x)) and torch.equal(out[:, 13:], third(x))
    inner = second[1].branches
    assert torch.equal(out[:, 2:7], inner[0](second[0](x))) and torch.equal(out[:, 7:13], inner[1](second[0](x)))
    averaged = nn.functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
    assert torch.equal(out[:, 13:], third[1](averaged))


@pytest.mark.parametrize("activated", [True, False])
def test_a_residual_module_adds_what_it_makes_scaled(activated):
    module = Residual(4, [Conv(2)], [Conv(3, 3)], scale=0.25, activated=activated).double().eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.double)
    wanted = x + 0.25 * module.linear(module.fork(x))
    torch.testing.assert_close(module(x), wanted.relu() if activated else wanted)
    assert module.linear.bias is not None and module.linear.in_channels == 5


@pytest.mark.parametrize("version", [1, 2])
def test_scales_reach_the_modules_but_not_the_plain_last_one(version):
    with torch.device("meta"):
        net = InceptionResNet(version=version, scales=(0.1, 0.2, 0.3), in_channels=3, num_classes=10, image_size=32)
    assert {module.scale for module in net.a} == {0.1} and {module.scale for module in net.b} == {0.2}
    *others, last = net.c
    assert {module.scale for module in others} == {0.3}
    assert last.scale == (0.3 if version == 1 else 1.0)
    assert isinstance(last.relu, nn.ReLU) == (version == 1)


def test_starting_weights():
    torch.manual_seed(0)
    net = InceptionResNet(version=1, in_channels=3, num_classes=10, image_size=32)
    weight = net.reduction_a.branches[1][0].conv.weight  # 256 → 384 channels, 3×3
    bound = (6 / (9 * (256 + 384))) ** 0.5
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.001) and weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not net.a[0].linear.bias.any()
