"""DenseNet: what a layer reads, the stem, starting weights, dropout, and the form that saves memory."""

import pytest
import torch
from torch import nn

from cnntrain.model.densenet import DenseNet

SMALL = {"growth_rate": 4, "block_layers": [3, 2], "in_channels": 3, "num_classes": 5, "image_size": 8}


def test_every_layer_reads_all_maps_before_it():
    torch.manual_seed(0)
    block = DenseNet(**SMALL).features.denseblock1.eval()
    x = torch.randn(2, 8, 6, 6)
    first = block.denselayer1([x])
    second = block.denselayer2([x, first])
    third = block.denselayer3([x, first, second])
    assert [layer.norm1.num_features for layer in block.values()] == [8, 12, 16]
    torch.testing.assert_close(block(x), torch.cat([x, first, second, third], 1))


def test_transitions_halve_channels_and_pixels():
    net = DenseNet(**SMALL)
    x = net.features.denseblock1(net.features.conv0(torch.randn(2, 3, 8, 8)))
    assert x.shape == (2, 20, 8, 8) and net.features.transition1(x).shape == (2, 10, 4, 4)


@pytest.mark.parametrize(("image_size", "names"), [(64, {"conv0"}), (65, {"conv0", "norm0", "relu0", "pool0"})])
def test_stem(image_size, names):
    with torch.device("meta"):
        net = DenseNet(**SMALL | {"image_size": image_size})
    assert {name for name, _ in net.features.named_children() if name.endswith("0")} == names
    assert str(image_size) in net.choices["stem"]


def test_layers_with_weights_are_the_depth():
    """DenseNet-121 has its name from them."""
    with torch.device("meta"):
        net = DenseNet(growth_rate=32, block_layers=[6, 12, 24, 16], in_channels=3, num_classes=1000, image_size=224)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net.modules()) == 121


def test_starting_weights_are_the_authors():
    torch.manual_seed(0)
    net = DenseNet(**SMALL | {"growth_rate": 32})
    assert net.features.denseblock1.denselayer1.conv1.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert not net.classifier.bias.any()


def test_dropout_follows_every_convolution_but_the_first():
    net = DenseNet(**SMALL, dropout=0.2)
    order = [type(module) for module in net.modules() if isinstance(module, nn.Conv2d | nn.Dropout)]
    assert order == [nn.Conv2d] + [nn.Conv2d, nn.Dropout] * (2 * 3 + 1 + 2 * 2)
    net = DenseNet(**SMALL, dropout=1.0)
    block = net.features.denseblock1.train()
    assert not block(torch.randn(2, 8, 6, 6))[:, 8:].any()
    for layer in block.values():
        layer.dropout2.p = 0.0
    assert not block(torch.randn(2, 8, 6, 6))[:, 8:].any(), "after the 1×1 convolution, too"


@pytest.fixture
def pair():
    """The same net in both forms."""
    torch.manual_seed(0)
    nets = [DenseNet(**SMALL | {"block_layers": [8, 2]}, memory_efficient=efficient).double() for efficient in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    return nets


def test_the_form_that_saves_memory_computes_the_same(pair):
    images, weights = torch.randn(4, 3, 8, 8, dtype=torch.double), torch.randn(4, 5, dtype=torch.double)
    for net in pair:
        for _ in range(2):  # running statistics, too: a batch counts once
            (net(images) * weights).sum().backward()
    plain, efficient = pair
    for (name, one), other in zip(plain.named_parameters(), efficient.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for (name, one), other in zip(plain.named_buffers(), efficient.buffers(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(plain.eval()(images), efficient.eval()(images))


def test_nothing_is_made_anew_while_compiling(monkeypatch):
    """torch.compile refuses the contexts of the second pass."""
    monkeypatch.setattr("cnntrain.model.densenet.checkpoint", lambda *_, **__: pytest.fail("recomputation"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    DenseNet(**SMALL, memory_efficient=True)(torch.randn(2, 3, 8, 8)).sum().backward()


def test_it_saves_memory(pair):
    kept = []
    for net in pair:
        sizes = {}

        def note(saved, sizes=sizes):
            sizes[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            logits = net(torch.randn(16, 3, 8, 8, dtype=torch.double))
        kept.append(sum(sizes.values()))
        del logits
    assert kept[1] < 0.6 * kept[0]
