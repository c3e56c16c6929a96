"""Maxout networks: the authors' sizes by arithmetic, and both ways of competing."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.maxout import MultiScaleMaxout
from cnntrain.model.maxout import MaxoutNet

FACTS = {
    "mnist": {"in_channels": 1, "num_classes": 10, "image_size": 28},
    "cifar10": {"in_channels": 3, "num_classes": 10, "image_size": 32},
}


def shapes(form, **config):
    """The maps behind each stage, of the paper's pictures."""
    seen, facts = [], FACTS[form]
    with torch.device("meta"):
        net = MaxoutNet(form=form, **config, **facts)
        for stage in net.stages:
            stage.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
        net.eval()(torch.zeros(1, facts["in_channels"], facts["image_size"], facts["image_size"]))
    return seen


def test_maps_are_those_of_the_authors_files():
    assert shapes("mnist") == [(48, 10, 10), (48, 4, 4), (24, 3, 3)]
    assert shapes("cifar10") == [(96, 16, 16), (192, 7, 7), (192, 5, 5)]


def test_parameters_by_arithmetic():
    def conv(inputs, channels, pieces, kernel):
        return (inputs * kernel**2 + 1) * channels * pieces

    mnist = conv(1, 48, 2, 8) + conv(48, 48, 2, 8) + conv(48, 24, 4, 5) + (24 * 9 + 1) * 10
    cifar10 = conv(3, 96, 2, 8) + conv(96, 192, 2, 8) + conv(192, 192, 2, 5) + (192 * 25 + 1) * 500 * 5 + 501 * 10
    for form, expected in (("mnist", mnist), ("cifar10", cifar10)):
        with torch.device("meta"):
            net = MaxoutNet(form=form, **FACTS[form])
        assert sum(value.numel() for value in net.parameters()) == expected
    assert (mnist, cifar10) == (418_714, 16_247_830)


def test_the_start_and_dropout_are_as_asked_for():
    torch.manual_seed(0)
    net = MaxoutNet(form="mnist", weight_init_range=0.02, input_dropout=0.1, dropout=0.3, **FACTS["mnist"])
    first = net.stages[0][1][0]
    assert first.weight.abs().max() <= 0.02 and first.weight.std().item() == pytest.approx(0.02 / 3**0.5, rel=0.1) and not first.bias.any()
    assert [module.p for module in net.modules() if isinstance(module, nn.Dropout)] == [0.1, 0.3, 0.3, 0.3]


def test_kernels_of_several_sizes_compete_in_place_of_pieces():
    assert shapes("cifar10", multi_scale=True) == [(96, 15, 15), (192, 7, 7), (192, 4, 4)]
    with torch.device("meta"):
        net = MaxoutNet(form="cifar10", multi_scale=True, **FACTS["cifar10"])
    modules = [module for module in net.modules() if isinstance(module, MultiScaleMaxout)]
    assert [[branch[0].kernel_size[0] for branch in module.branches] for module in modules] == [[1, 3, 5, 7], [1, 3, 5, 7], [1, 3, 5]]


@pytest.mark.parametrize(("form", "smallest"), [("mnist", 16), ("cifar10", 8)])
def test_too_small_an_image(form, smallest):
    facts = FACTS[form] | {"image_size": smallest - 1}
    with torch.device("meta"), pytest.raises(ConfigError, match=rf"layer stages\.\d\.\d .*data.image_size={smallest},"):
        MaxoutNet(form=form, **facts)
