"""GoogLeNet: its modules' figures, depth, heads, forms, and starting weights."""

import pytest
import torch
from torch import nn

from cnntrain.model.googlenet import GoogLeNet, Inception, NaiveInception

IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
CIFAR = {"in_channels": 3, "num_classes": 10, "image_size": 32}


def on_meta(**arguments):
    with torch.device("meta"):
        return GoogLeNet(**arguments)


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def weights(module):
    """Those of the convolutions alone."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() == 4)


def test_module_3a_reduced_and_naive():  # SPEC N8
    images = torch.empty(1, 192, 28, 28, device="meta")
    with torch.device("meta"):
        reduced, naive = Inception(192, "3a"), NaiveInception(192, "3a")
    assert reduced(images).shape == (1, 256, 28, 28) and reduced.out_channels == 256
    assert [branch(images).shape[1] for branch in (reduced.branch1, reduced.branch2, reduced.branch3, reduced.branch4)] == [64, 128, 32, 32]
    assert naive(images).shape == (1, 416, 28, 28) and naive.out_channels == 416
    assert (weights(reduced), weights(naive)) == (163_328, 387_072)


@pytest.mark.parametrize("make", [Inception, NaiveInception])
def test_a_modules_branches_stand_in_the_papers_order(make):
    module = make(4, "3a", norm=False)
    x = torch.randn(1, 4, 6, 6)
    out = module(x)
    assert torch.equal(out[:, :64], module.branch1(x)) and torch.equal(out[:, 64:192], module.branch2(x))
    assert torch.equal(out[:, 192:224], module.branch3(x)) and torch.equal(out[:, 224:], module.branch4(x))


def test_22_layers_with_weights_one_after_another():
    def convolutions(branch):
        return sum(isinstance(module, nn.Conv2d) for module in branch.modules())

    net = on_meta(**IMAGENET)
    modules = [module for module in net.modules() if isinstance(module, Inception)]
    depth = sum(max(convolutions(branch) for branch in module.children()) for module in modules)
    assert len(modules) == 9
    assert depth + sum(convolutions(layer) for layer in (net.conv1, net.conv2, net.conv3)) + 1 == 22  # and the dense layer


@pytest.mark.parametrize(
    ("form", "norm", "alone", "with_heads"),  # SPEC N8
    [
        ("paper", "local_response", 6_998_552, 13_378_280),
        ("paper", "batch", 7_005_832, 13_385_816),
        ("torchvision", "batch", 6_624_904, 13_004_888),
    ],
)
def test_parameter_counts(form, norm, alone, with_heads):
    assert parameters(on_meta(form=form, norm=norm, auxiliary=False, **IMAGENET)) == alone
    assert parameters(on_meta(form=form, norm=norm, **IMAGENET)) == with_heads


def test_the_heads_answer_in_training_alone():
    images = torch.empty(2, 3, 32, 32, device="meta")
    net = on_meta(**CIFAR)
    assert [logits.shape for logits in net(images)] == [(2, 10)] * 3
    assert net.eval()(images).shape == (2, 10)
    net.auxiliary = False
    assert net.train()(images).shape == (2, 10)


@pytest.mark.parametrize(("image_size", "sizes"), [(224, [28, 14, 7]), (32, [32, 16, 8])])
def test_map_sizes(image_size, sizes):
    seen = {}
    net = on_meta(**{**IMAGENET, "image_size": image_size}).eval()
    for name in ("inception3a", "inception4a", "inception5b"):
        net.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    net(torch.empty(1, 3, image_size, image_size, device="meta"))
    assert list(seen.values()) == [(channels, size, size) for channels, size in zip((256, 512, 1024), sizes, strict=True)]


def test_forms():
    paper, other = on_meta(**IMAGENET), on_meta(form="torchvision", **IMAGENET)
    assert paper.inception4b.branch3[1].conv.kernel_size == (5, 5) and other.inception4b.branch3[1].conv.kernel_size == (3, 3)
    assert (paper.maxpool4.kernel_size, other.maxpool4.kernel_size) == (3, 2)
    plain = on_meta(norm="local_response", **IMAGENET)
    assert isinstance(plain.norm1, nn.LocalResponseNorm) and isinstance(plain.norm2, nn.LocalResponseNorm)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert not any(isinstance(module, nn.LocalResponseNorm) for module in paper.modules())


def test_the_naive_net_grows_with_every_module():
    net = on_meta(reduce=False, **CIFAR)
    assert net.inception3b.out_channels == 416 + 128 + 192 + 96
    assert [logits.shape for logits in net(torch.empty(2, 3, 8, 8, device="meta"))] == [(2, 10)] * 3


@pytest.mark.parametrize(
    ("stem", "image_size", "small"), [("auto", 64, True), ("auto", 65, False), ("cifar", 224, True), ("imagenet", 32, False)]
)
def test_stem(stem, image_size, small):
    net = on_meta(stem=stem, in_channels=3, num_classes=10, image_size=image_size)
    assert net.conv1.conv.kernel_size == ((3, 3) if small else (7, 7))
    assert isinstance(net.maxpool1, nn.Identity) == isinstance(net.maxpool2, nn.Identity) == small
    assert ("stem" in net.choices) == (stem == "auto")


def test_the_smallest_image():
    net = on_meta(**CIFAR).eval()
    assert net(torch.empty(1, 3, 4, 4, device="meta")).shape == (1, 10)
    with pytest.raises(RuntimeError, match="too small"):
        net(torch.empty(1, 3, 3, 3, device="meta"))


def test_starting_weights():
    torch.manual_seed(0)
    net = GoogLeNet(auxiliary=False, **CIFAR)
    weight = net.inception5b.branch2[1].conv.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not net.fc.bias.any()
    plain = GoogLeNet(norm="local_response", **CIFAR)
    weight = plain.inception5b.branch2[1].conv.weight  # 192 channels, 3×3
    assert weight.std().item() == pytest.approx((1 / (192 * 9)) ** 0.5, rel=0.01)
    assert all((bias == 0.2).all() for bias in (plain.conv1.conv.bias, plain.inception5b.branch4[1].conv.bias, plain.aux1.fc1.bias))
    assert not any(bias.any() for bias in (plain.fc.bias, plain.aux1.fc2.bias, plain.aux2.fc2.bias))
