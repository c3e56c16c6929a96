"""MobileNet v1 and v2: widths, published counts of the narrower ones, strides."""

import pytest
import torch
from torch import nn

from cnntrain.model.mobilenet import InvertedResidual, MobileNetV1, MobileNetV2

IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}


def meta(kind, **changes):
    with torch.device("meta"):
        return kind(**IMAGENET | changes)


def count(net):
    return sum(value.numel() for value in net.parameters())


# v1: keras.applications' files without the moving statistics (2 × 21,888 · width there); v2: torchvision.models.mobilenet_v2(width_mult=…)
@pytest.mark.parametrize(
    ("kind", "width", "parameters"),
    [(MobileNetV1, 0.75, 2_585_560), (MobileNetV1, 0.5, 1_331_592), (MobileNetV1, 0.25, 470_072), (MobileNetV2, 1.4, 6_108_776)],
)
def test_other_widths(kind, width, parameters):
    assert count(meta(kind, width=width)) == parameters


@pytest.mark.parametrize("width", [0.35, 0.75])
def test_v2s_widths_are_torchvisions(width):
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):
        theirs = mobilenet_v2(width_mult=width).state_dict()
    ours = meta(MobileNetV2, width=width).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize("kind", [MobileNetV1, MobileNetV2])
@pytest.mark.parametrize(("size", "last"), [(224, 7), (32, 4)])
def test_sizes_on_the_way(kind, size, last):
    net, seen = meta(kind, image_size=size), []
    net.features.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[2:])))
    assert net(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 1000)
    assert seen == [(last, last)]
    assert ("first two strides" in net.choices["stem"]) == (size == 32)


def test_v1_is_thirteen_pairs_of_convolutions():
    """28 layers with the first convolution and the classifier; the activation is the paper's, after both of a pair."""
    net = meta(MobileNetV1)
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 27 and [conv.groups > 1 for conv in convolutions] == [False, *[True, False] * 13]
    assert sum(isinstance(module, nn.ReLU) for module in net.modules()) == 27
    assert [conv.stride[0] for conv in convolutions if conv.groups > 1] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def test_an_inverted_residual_adds_between_its_narrow_ends():
    torch.manual_seed(0)
    block = InvertedResidual(4, 4, stride=1, expansion=6).eval()
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), x + block.conv(x))
    assert block.conv[0][0].out_channels == 24 and block(x).min() < 0, "the end is linear"
    for other in (InvertedResidual(4, 8, stride=1, expansion=6), InvertedResidual(4, 4, stride=2, expansion=6)):
        torch.testing.assert_close(other.eval()(x), other.conv(x))


def test_starting_weights():
    torch.manual_seed(0)
    first = MobileNetV1(in_channels=3, num_classes=10, image_size=32).features[13][1][0].weight
    assert first.std().item() == pytest.approx(0.09 * 0.8796, rel=0.01) and first.abs().max() <= 0.18  # cut off at two deviations
    second = MobileNetV2(in_channels=3, num_classes=10, image_size=32)
    assert second.features[18][0].weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.01)
    assert second.classifier[1].weight.std().item() == pytest.approx(0.01, rel=0.03)
