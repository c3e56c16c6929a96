"""Inception v3: sizes, its auxiliary head at all sizes, factorised kernels, and the smallest image."""

import pytest
import torch
from torch import nn

from cnntrain.model.inception_v3 import AuxiliaryHead, InceptionC, InceptionE, InceptionV3


def on_meta(image_size, num_classes=1000, **arguments):
    with torch.device("meta"):
        return InceptionV3(in_channels=3, num_classes=num_classes, image_size=image_size, **arguments)


@pytest.mark.parametrize(("image_size", "sizes"), [(299, (35, 17, 8)), (32, (32, 15, 7))])
def test_map_sizes(image_size, sizes):
    seen = []
    net = on_meta(image_size).train()
    for name in ("Mixed_5d", "Mixed_6e", "Mixed_7c"):
        net.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    outputs = net(torch.empty(2, 3, image_size, image_size, device="meta"))
    assert seen == [(channels, size, size) for channels, size in zip((288, 768, 2048), sizes, strict=True)]
    assert [logits.shape for logits in outputs] == [(2, 1000)] * 2


def test_parameter_counts():  # SPEC N9
    assert sum(parameter.numel() for parameter in on_meta(299, auxiliary=False).parameters()) == 23_834_568
    assert sum(parameter.numel() for parameter in on_meta(299).parameters()) == 27_161_264


def test_the_head_answers_in_training_alone():  # test_map_sizes has both answers
    images = torch.empty(2, 3, 32, 32, device="meta")
    net = on_meta(32).eval()
    assert net(images).shape == (2, 1000)
    net.AuxLogits = None
    assert net.train()(images).shape == (2, 1000)


@pytest.mark.parametrize(("size", "pooled"), [(16, "small_pool"), (17, "pool"), (20, "pool"), (1, "small_pool")])
def test_the_heads_average_is_adaptive_on_maps_too_small_for_it(size, pooled):
    head = AuxiliaryHead(8, 5).eval()
    seen = []
    for name in ("pool", "small_pool"):
        head.get_submodule(name).register_forward_hook(lambda _, __, ___, name=name: seen.append(name))
    assert head(torch.randn(2, 8, size, size)).shape == (2, 5)
    assert seen == [pooled]


def test_large_kernels_are_taken_apart():
    with torch.device("meta"):
        c, e = InceptionC(768, width=128), InceptionE(1280)
    kernels = {module.kernel_size for module in [*c.modules(), *e.modules()] if isinstance(module, nn.Conv2d)}
    assert kernels == {(1, 1), (1, 7), (7, 1), (1, 3), (3, 1), (3, 3)}
    images = torch.empty(1, 1280, 8, 8, device="meta")
    assert e(images).shape == (1, 320 + 768 + 768 + 192, 8, 8)


@pytest.mark.parametrize("smallest", [7, 75])  # of either stem
def test_the_smallest_image(smallest):
    net = on_meta(smallest)
    assert reduced(net, smallest) == (1, 1)
    with pytest.raises(RuntimeError, match="[Kk]ernel size"):
        reduced(net, smallest - 1)


def reduced(net, size):
    """Height and width of the last maps; 5b to 5d and 6b to 6e keep what they get."""
    x = net.Conv2d_2b_3x3(net.Conv2d_2a_3x3(net.Conv2d_1a_3x3(torch.empty(2, 3, size, size, device="meta"))))
    x = net.maxpool2(net.Conv2d_4a_3x3(net.Conv2d_3b_1x1(net.maxpool1(x))))
    return net.Mixed_7a(net.Mixed_6a(x.new_empty(2, 288, *x.shape[2:]))).shape[2:]


def test_starting_weights():
    torch.manual_seed(0)
    net = InceptionV3(in_channels=3, num_classes=10, image_size=32)
    assert net.Mixed_7c.branch3x3dbl_2.conv.weight.std().item() == pytest.approx((2 / (448 * 9)) ** 0.5, rel=0.01)
    assert net.AuxLogits.conv1.conv.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert net.AuxLogits.fc.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert "stem" in net.choices and "74" in net.choices["stem"]
