"""The all-convolutional net: the paper's base models and their derived forms, maps, dropout, starting weights."""

import pytest
import torch
from torch import nn

from cnntrain.model.all_cnn import AllCNN


def meta(num_classes=10, **config):
    """A net of 3 channels without memory."""
    with torch.device("meta"):
        return AllCNN(**config, in_channels=3, num_classes=num_classes)


def count(net):
    """Its parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def by_hand(*layers):
    """Weights and biases of convolutions (in, out, kernel)."""
    return sum(inputs * outputs * kernel * kernel + outputs for inputs, outputs, kernel in layers)


BASES = {
    "A": by_hand((3, 96, 5), (96, 192, 5)),
    "B": by_hand((3, 96, 5), (96, 96, 1), (96, 192, 5), (192, 192, 1)),
    "C": by_hand((3, 96, 3), (96, 96, 3), (96, 192, 3), (192, 192, 3)),
}


@pytest.mark.parametrize("base", BASES)
def test_parameters_by_arithmetic(base):
    """A further convolution a stage, with or without a pool behind it; stride 2 or a pool costs nothing."""
    plain = BASES[base] + by_hand((192, 192, 3), (192, 192, 1), (192, 10, 1))
    further = by_hand((96, 96, 3), (192, 192, 3))
    counts = {reduction: count(meta(base=base, reduction=reduction)) for reduction in ("pool", "stride", "conv_pool", "conv")}
    assert counts == {"pool": plain, "stride": plain, "conv_pool": plain + further, "conv": plain + further}


def test_all_cnn_c_has_the_papers_layers():
    """SPEC N7 and the paper's table 2."""
    net = meta()
    assert count(net) == 1_369_738
    convolutions = [m for m in net.features if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [96] * 3 + [192] * 5 + [10]
    assert [m.kernel_size[0] for m in convolutions] == [3] * 7 + [1, 1]
    assert [m.stride[0] for m in convolutions] == [1, 1, 2, 1, 1, 2, 1, 1, 1]
    assert not any(isinstance(m, nn.MaxPool2d | nn.Linear) for m in net.modules())


@pytest.mark.parametrize("base", ["A", "B", "C"])
@pytest.mark.parametrize("reduction", ["pool", "stride", "conv_pool", "conv"])
def test_the_last_maps_have_6x6_pixels(base, reduction):
    net = meta(base=base, reduction=reduction)
    assert net.features(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10, 6, 6)
    assert sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) == (2 if "pool" in reduction else 0)
    assert sum(m.stride == (2, 2) for m in net.features if isinstance(m, nn.Conv2d)) == (0 if "pool" in reduction else 2)


def test_the_form_for_imagenet():
    """The appendix's table 6, with its 6×6 pixels before the average, and the parameters that its layers add up to."""
    net = meta(base="imagenet", num_classes=1000)
    first = by_hand((3, 96, 11), (96, 96, 1), (96, 96, 3), (96, 256, 5), (256, 256, 1), (256, 256, 3))
    assert count(net) == first + by_hand((256, 384, 3), (384, 384, 1), (384, 384, 3), (384, 1024, 3), (1024, 1024, 1), (1024, 1000, 1))
    assert count(net) == 9_372_840
    sizes = []
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[2]))
    net(torch.zeros(2, 3, 224, 224, device="meta"))
    assert sizes == [55, 55, 27, 27, 27, 13, 13, 13, 6, 6, 6, 6]
    assert sum(isinstance(m, nn.Dropout) for m in net.features) == 1


@pytest.mark.parametrize("reduction", ["pool", "conv"])
def test_dropout_on_the_input_and_behind_each_reduction(reduction):
    net = meta(reduction=reduction)
    assert net.drop.p == 0.2
    places = [place for place, m in enumerate(net.features) if isinstance(m, nn.Dropout)]
    assert [net.features[place].p for place in places] == [0.5, 0.5]
    before = [net.features[place - 1 if reduction == "pool" else place - 2] for place in places]
    assert all(isinstance(m, nn.MaxPool2d) if reduction == "pool" else m.stride == (2, 2) for m in before)
    torch.manual_seed(0)
    dropped = AllCNN(input_dropout=1.0, in_channels=3, num_classes=2).train()
    assert not dropped(torch.randn(2, 3, 9, 9)).any(), "without an input nothing is left, as all biases start at 0"


def test_starting_weights_are_glorots():
    torch.manual_seed(0)
    net = AllCNN(in_channels=3, num_classes=10)
    convolutions = [m for m in net.features if isinstance(m, nn.Conv2d)]
    bound = (6 / (9 * (192 + 192))) ** 0.5
    assert bound * 0.99 < convolutions[4].weight.abs().max().item() <= bound
    assert not any(m.bias.any() for m in convolutions)


def test_logits_are_the_last_maps_averages():
    torch.manual_seed(0)
    net = AllCNN(in_channels=3, num_classes=5).eval()
    images = torch.randn(2, 3, 24, 24)
    last = net.features(images)
    assert last.shape == (2, 5, 4, 4) and last.min() == 0
    torch.testing.assert_close(net(images), last.mean((2, 3)))
