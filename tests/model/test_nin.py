"""Network in Network: the two forms' parameters and maps, starting weights, and what the logits are."""

import pytest
import torch
from torch import nn

from cnntrain.model.nin import NetworkInNetwork


def meta(form, num_classes):
    """A net of 3 channels without memory."""
    with torch.device("meta"):
        return NetworkInNetwork(form=form, in_channels=3, num_classes=num_classes)


def by_hand(*layers):
    """Weights and biases of convolutions (in, out, kernel)."""
    return sum(inputs * outputs * kernel * kernel + outputs for inputs, outputs, kernel in layers)


def test_parameters_by_arithmetic():
    cifar = by_hand(
        (3, 192, 5), (192, 160, 1), (160, 96, 1), (96, 192, 5), *[(192, 192, 1)] * 2, (192, 192, 3), (192, 192, 1), (192, 10, 1)
    )
    assert sum(p.numel() for p in meta("cifar", 10).parameters()) == cifar == 966_986  # SPEC N7
    first = by_hand((3, 96, 11), *[(96, 96, 1)] * 2, (96, 256, 5), *[(256, 256, 1)] * 2, (256, 384, 3), *[(384, 384, 1)] * 2)
    imagenet = first + by_hand((384, 1024, 3), (1024, 1024, 1), (1024, 1000, 1))
    assert sum(p.numel() for p in meta("imagenet", 1000).parameters()) == imagenet == 7_595_176


@pytest.mark.parametrize(
    ("form", "image_size", "sizes"), [("cifar", 32, [32, 16, 16, 16, 8, 8, 8]), ("imagenet", 224, [54, 27, 27, 13, 13, 6, 6, 6])]
)
def test_maps_are_the_authors(form, image_size, sizes):
    """Their pools keep a window that reaches over the edge: 32 → 16, not 15."""
    net, seen = meta(form, 10), []
    for module in net.features:
        module.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2]))
    net(torch.zeros(2, 3, image_size, image_size, device="meta"))
    assert seen == sizes


@pytest.mark.parametrize(
    ("form", "order"),
    [
        ("cifar", ["mlpconv1", "pool1", "drop1", "mlpconv2", "pool2", "drop2", "mlpconv3"]),
        ("imagenet", ["mlpconv1", "pool1", "mlpconv2", "pool2", "mlpconv3", "pool3", "drop3", "mlpconv4"]),
    ],
)
def test_dropout_follows_the_authors_pools(form, order):
    assert [name for name, _ in meta(form, 10).features.named_children()] == order


@pytest.mark.parametrize("form", ["cifar", "imagenet"])
def test_starting_weights_are_the_authors(form):
    torch.manual_seed(0)
    net = NetworkInNetwork(form=form, in_channels=3, num_classes=100)
    narrow = {"features.mlpconv1.conv", "features.mlpconv3.conv", "features.mlpconv4.cccp2"} if form == "imagenet" else set()
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.01 if name in narrow else 0.05, rel=0.05), name
            assert not module.bias.any()


def test_logits_are_the_last_maps_averages():
    torch.manual_seed(0)
    net = NetworkInNetwork(in_channels=3, num_classes=5).eval()
    images = torch.randn(2, 3, 40, 40)
    last = net.features(images)
    assert last.shape == (2, 5, 10, 10) and last.min() == 0
    torch.testing.assert_close(net(images), last.mean((2, 3)))


def test_an_mlpconv_is_a_dense_net_at_every_pixel():
    torch.manual_seed(0)
    block, images = NetworkInNetwork(in_channels=2, num_classes=5).features.mlpconv1, torch.randn(1, 2, 5, 5)
    x = block.conv.weight.flatten(1) @ images.flatten()  # the window over the middle pixel
    for layer in (block.cccp1, block.cccp2):
        x = layer.weight[:, :, 0, 0] @ x.relu()
    torch.testing.assert_close(block(images)[0, :, 2, 2], x.relu())
