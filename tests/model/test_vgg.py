"""VGG: the six configurations, the two heads, starting weights, and torchvision's layers."""

import pytest
import torch
from torch import nn

from cnntrain.model.vgg import VGG

IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
CIFAR = {"in_channels": 3, "num_classes": 10, "image_size": 32}
TWINS = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}


def meta(**config):
    """A net without memory."""
    with torch.device("meta"):
        return VGG(**config)


def count(net):
    """Its parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("configuration", TWINS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_is_torchvisions_layer_by_layer(configuration, batch_norm):
    """Down to kernels, dropout and places; with its weights by name (test_every.py) it is the same function."""
    from torchvision.models import get_model

    with torch.device("meta"):
        twin = get_model(TWINS[configuration] + ("_bn" if batch_norm else ""), weights=None)
    net = meta(configuration=configuration, batch_norm=batch_norm, **IMAGENET)
    for part in ("features", "avgpool", "classifier"):
        assert str(getattr(net, part)) == str(getattr(twin, part))


def test_a_lrn_is_a_with_one_response_norm_behind_the_first_relu():
    layers, plain = ([str(layer) for layer in meta(configuration=name, **IMAGENET).features] for name in ("A-LRN", "A"))
    assert layers.pop(2).startswith("ResponseNorm") and layers == plain


def test_c_is_d_with_a_1x1_before_each_of_the_last_three_pools():
    c, d = ([*meta(configuration=name, **IMAGENET).features] for name in "CD")
    places = [place for place, (one, other) in enumerate(zip(c, d, strict=True)) if str(one) != str(other)]
    assert [(c[place].kernel_size, d[place].kernel_size) for place in places] == [((1, 1), (3, 3))] * 3
    assert [c[place].out_channels for place in places] == [256, 512, 512]
    assert all(isinstance(c[place + 2], nn.MaxPool2d) for place in places)
    assert all(c[place](torch.zeros(1, c[place].in_channels, 5, 5, device="meta")).shape[2:] == (5, 5) for place in places)


@pytest.mark.parametrize(
    ("head", "image_size", "small"), [("auto", 64, True), ("auto", 65, False), ("cifar", 224, True), ("imagenet", 32, False)]
)
def test_head(head, image_size, small):
    net = meta(configuration="A", head=head, in_channels=3, num_classes=10, image_size=image_size)
    assert isinstance(net.classifier, nn.Linear) == small
    assert net(torch.zeros(2, 3, image_size, image_size, device="meta")).shape == (2, 10)
    assert ("head" in net.choices) == (head == "auto")
    if head == "auto":
        assert str(image_size) in net.choices["head"] and ("one dense layer" in net.choices["head"]) == small


def test_the_small_form_ends_at_one_pixel_and_has_the_parameters_of_its_source():
    net = meta(configuration="D", batch_norm=True, **CIFAR)
    assert net.features(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 512, 1, 1)
    assert count(net) == 14_728_266  # the "VGG-16" of pytorch-cifar
    convolutions = 138_357_544 - (512 * 49 * 4096 + 4096) - (4096 * 4096 + 4096) - (4096 * 1000 + 1000)
    assert count(meta(configuration="D", **CIFAR)) == convolutions + 512 * 10 + 10


def test_starting_weights_are_glorots():
    torch.manual_seed(0)
    net = VGG(configuration="A", **CIFAR)
    convolution = net.features[11]
    assert (convolution.in_channels, convolution.out_channels) == (256, 512)
    bound = (6 / (9 * (256 + 512))) ** 0.5
    assert bound * 0.99 < convolution.weight.abs().max().item() <= bound
    assert net.classifier.weight.abs().max().item() <= (6 / 522) ** 0.5
    assert not any(module.bias.any() for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear))


def test_dropout_is_that_of_the_dense_layers():
    assert [m.p for m in meta(configuration="A", dropout=0.3, **IMAGENET).modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
