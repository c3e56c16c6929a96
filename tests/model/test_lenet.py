"""LeNet-5: the sizes it takes, its activations and pools."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.lenet import LeNet5


@pytest.mark.parametrize("image_size", [28, 32])
def test_mnist_and_the_papers_size_have_the_same_parameters(image_size):
    net = LeNet5(in_channels=1, num_classes=10, image_size=image_size)
    assert sum(parameter.numel() for parameter in net.parameters()) == 61_706
    assert net(torch.zeros(2, 1, image_size, image_size)).shape == (2, 10)
    assert net.choices["padding"].startswith("2" if image_size == 28 else "none")


@pytest.mark.parametrize("image_size", [12, 13, 31, 33, 47])
def test_takes_any_size_that_fits(image_size):
    net = LeNet5(in_channels=3, num_classes=4, image_size=image_size)
    assert net(torch.zeros(1, 3, image_size, image_size)).shape == (1, 4)
    assert net.conv1.padding == ((2, 2) if image_size < 32 else (0, 0))


@pytest.mark.parametrize(("image_size", "layer"), [(11, "pool2"), (7, "conv2"), (1, "pool1")])
def test_too_small_an_image_names_the_layer_and_the_smallest_size(image_size, layer):
    with pytest.raises(ConfigError, match=rf"layer {layer} .*at least 12x12"):
        LeNet5(in_channels=1, num_classes=10, image_size=image_size)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("elu", nn.ELU)])
def test_activation(activation, kind):
    net = LeNet5(activation=activation, in_channels=1, num_classes=10, image_size=28)
    assert sum(isinstance(module, kind) for module in net.modules()) == 4


def test_pool():
    net = LeNet5(pool="average", in_channels=1, num_classes=10, image_size=28)
    assert sum(isinstance(module, nn.AvgPool2d) for module in net.modules()) == 2
