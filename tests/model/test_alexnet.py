"""AlexNet in two towers and in one: maps, connections, starting weights, dropout, and torchvision's layers."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.alexnet import AlexNet, SingleTowerAlexNet


def meta(kind, **config):
    """A net of 3 channels and 1000 classes without memory."""
    with torch.device("meta"):
        return kind(**config, in_channels=3, num_classes=1000)


def maps(net, image_size):
    """The shape of each layer's output, by its name."""
    shapes = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
    net(torch.zeros(2, 3, image_size, image_size, device="meta"))
    return shapes


@pytest.mark.parametrize("image_size", [224, 227])
def test_the_papers_maps_and_parameters_at_both_of_its_sizes(image_size):
    """SPEC N5. The paper says 224, its maps say 227."""
    net = meta(AlexNet, image_size=image_size)
    shapes = maps(net, image_size)
    assert shapes["conv1"] == (96, 55, 55) and shapes["pool1"] == (96, 27, 27)
    assert shapes["conv2"] == (256, 27, 27) and shapes["pool2"] == (256, 13, 13)
    assert shapes["conv3"] == shapes["conv4"] == (384, 13, 13) and shapes["conv5"] == (256, 13, 13)
    assert shapes["pool5"] == (256, 6, 6) and shapes["fc6"] == shapes["fc7"] == (4096,)
    assert sum(parameter.numel() for parameter in net.parameters()) == 60_965_224
    assert net.choices["padding"].startswith("2" if image_size == 224 else "0")


@pytest.mark.parametrize("image_size", range(64, 69))
def test_conv1_leaves_no_pixel_out(image_size):
    conv = meta(AlexNet, image_size=image_size).conv1
    padding, windows = conv.padding[0], maps(nn.Sequential(conv), image_size)["0"][1]
    end = (windows - 1) * 4 + 11 - padding  # one past the last window's last pixel
    assert image_size <= end <= image_size + padding


def test_a_tower_sees_its_own_half_but_in_conv3():
    net = meta(AlexNet, image_size=227)
    assert {name: layer.groups for name, layer in net.named_children() if isinstance(layer, nn.Conv2d)} == {
        "conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def net():
    """The original at its smallest size."""
    torch.manual_seed(0)
    return AlexNet(dropout=1.0, in_channels=3, num_classes=2, image_size=64)


def test_starting_weights_are_the_papers(net):
    layers = {name: layer for name, layer in net.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)}
    assert len(layers) == 8
    for name, layer in layers.items():
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05), name
        assert set(layer.bias.tolist()) == ({1.0} if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else {0.0}), name


def test_dropout_stands_behind_the_hidden_dense_layers(net):
    """With everything dropped the last layer's bias alone is left; torchvision's order would let fc7's through."""
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(net.train()(images), net.fc8.bias.expand(2, 2))
    assert net.eval()(images).any()


def test_layers_run_in_the_order_of_their_names_with_the_response_norm_before_the_first_two_pools(net):
    order, seen = [name for name, _ in net.named_children()], []
    hooks = [layer.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, layer in net.named_children()]
    net.eval()(torch.randn(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert seen == order
    for number in (1, 2):
        place = order.index(f"norm{number}")
        assert order[place - 1 : place + 2] == [f"relu{number}", f"norm{number}", f"pool{number}"]


def test_too_small_an_image_names_the_layer_and_the_smallest_size():
    with pytest.raises(ConfigError, match=r"layer pool5 .*data.image_size=64,"):
        meta(AlexNet, image_size=63)


def test_the_single_tower_is_torchvisions_layer_by_layer():
    from torchvision.models import get_model

    with torch.device("meta"):
        twin = get_model("alexnet", weights=None)
    net = meta(SingleTowerAlexNet)
    for part in ("features", "avgpool", "classifier"):
        assert str(getattr(net, part)) == str(getattr(twin, part))
    assert net(torch.zeros(2, 3, 300, 300, device="meta")).shape == (2, 1000)
