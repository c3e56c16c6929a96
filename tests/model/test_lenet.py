"""LeNet-5: the sizes it takes, its activations and pools, and the paper's own form layer by layer."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.activation import ScaledTanh
from cnntrain.model.lenet import LeNet5, LeNet5Classic, PartialConv2d


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
    with pytest.raises(ConfigError, match=rf"layer {layer} .*data.image_size=12,"):
        LeNet5(in_channels=1, num_classes=10, image_size=image_size)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        *[("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU), ("elu", nn.ELU), ("gelu", nn.GELU)],
        *[("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("scaled_tanh", ScaledTanh)],
    ],
)
def test_activation(activation, kind):
    net = LeNet5(activation=activation, in_channels=1, num_classes=10, image_size=28)
    assert sum(isinstance(module, kind) for module in net.modules()) == 4


def test_pool():
    net = LeNet5(pool="average", in_channels=1, num_classes=10, image_size=28)
    assert sum(isinstance(module, nn.AvgPool2d) for module in net.modules()) == 2


@pytest.mark.parametrize("image_size", [28, 32])
def test_the_classic_form_has_the_papers_parameters(image_size):
    net = LeNet5Classic(in_channels=1, num_classes=10, image_size=image_size)
    layers = {name: sum(parameter.numel() for parameter in layer.parameters()) for name, layer in net.named_children()}
    counts = {name: count for name, count in layers.items() if count}
    assert counts == {"conv1": 156, "pool1": 12, "conv2": 1516, "pool2": 32, "conv3": 48_120, "fc1": 10_164}  # section II.B: 60,000
    assert net.choices["padding"].startswith("2" if image_size == 28 else "none")


@pytest.mark.parametrize("image_size", [12, 13, 31, 33, 47])
def test_the_classic_form_takes_any_size_that_fits(image_size):
    net = LeNet5Classic(in_channels=3, num_classes=4, image_size=image_size)
    assert net(torch.zeros(1, 3, image_size, image_size)).shape == (1, 4)
    with pytest.raises(ConfigError, match=r"layer pool2 .*data.image_size=12,"):
        LeNet5Classic(in_channels=1, num_classes=10, image_size=11)


def test_the_largest_logit_is_of_the_nearest_code():
    net = LeNet5Classic(in_channels=1, num_classes=10, image_size=28)
    before = []
    net.distance.register_forward_pre_hook(lambda module, inputs: before.append(inputs[0]))
    logits = net(torch.randn(5, 1, 28, 28))
    distances = torch.cdist(before[0], net.distance.codes).square()
    torch.testing.assert_close(logits, -distances)
    assert before[0].abs().max() <= 1.7159 and "digits" in net.choices["codes"]
    assert "signs" in LeNet5Classic(in_channels=1, num_classes=11, image_size=28).choices["codes"]


def test_every_layer_of_the_classic_form_is_followed_by_the_scaled_tanh():
    net = LeNet5Classic(in_channels=1, num_classes=10, image_size=28)
    order = []
    for module in net.children():
        module.register_forward_hook(lambda module, inputs, output: order.append(type(module).__name__))
    net(torch.zeros(1, 1, 28, 28))
    kinds = ["Conv2d", "Subsampling", "PartialConv2d", "Subsampling", "Conv2d", "Linear"]
    assert [kind for kind in order if kind != "Flatten"] == [name for kind in kinds for name in (kind, "ScaledTanh")] + ["RadialBasis"]


def test_the_classic_form_starts_within_the_papers_bounds():
    torch.manual_seed(0)
    net = LeNet5Classic(in_channels=1, num_classes=10, image_size=32)
    fan_in = {"conv1": 25, "pool1": 4, "conv2": 150, "pool2": 4, "conv3": 400, "fc1": 120}
    for name, inputs in fan_in.items():
        layer = net.get_submodule(name)
        weight = layer.weight[-6:] if name == "conv2" else layer.weight  # those of the map that sees all six
        assert weight.abs().max() <= 2.4 / inputs and (name.startswith("pool") or weight.abs().max() > 0.8 * 2.4 / inputs)
        assert not layer.bias.any()
    assert 0.8 * 2.4 / 75 < net.conv2.weight[:18].abs().max() <= 2.4 / 75


def test_a_partial_convolution_is_one_of_each_map():
    torch.manual_seed(0)
    table = ((0, 2), (1,), (0, 1, 2))
    layer = PartialConv2d(3, table, kernel=3).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    kernels = layer.weight.split([len(maps) for maps in table])
    expected = [
        nn.functional.conv2d(x[:, list(maps)], kernel[None], layer.bias[j : j + 1])
        for j, (maps, kernel) in enumerate(zip(table, kernels, strict=True))
    ]
    out = layer(x)
    torch.testing.assert_close(out, torch.cat(expected, 1))
    out[:, 1].sum().backward()
    assert x.grad[:, 1].any() and not x.grad[:, [0, 2]].any()
    assert layer.weight.grad[2].any() and not layer.weight.grad[[0, 1, 3, 4, 5]].any()


def test_the_papers_table():
    net = LeNet5Classic(in_channels=1, num_classes=10, image_size=32)
    seen = (net.conv2.places < 60).view(16, 6).int()
    assert seen.sum(1).tolist() == [3] * 6 + [4] * 9 + [6]
    assert seen.sum(0).tolist() == [10] * 6  # the crosses in each row of table I
    assert len({tuple(row.tolist()) for row in seen}) == 16
    assert seen[14].tolist() == [1, 0, 1, 1, 0, 1]
