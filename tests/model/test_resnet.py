"""ResNet: counts with each shortcut and with none, the stem's choice, starting weights (its logits are in `test_every.py`)."""

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.residual import BasicBlock, Bottleneck
from cnntrain.model.resnet import ResNet

IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
COUNTS = {  # SPEC N10; those of shortcut B are in the ledger
    "A": {18: 11_515_688, 34: 21_623_848, 50: 22_780_456, 101: 41_772_584, 152: 57_416_232},
    "C": {18: 12_043_816, 34: 22_716_840, 50: 40_128_552, 101: 76_981_288, 152: 107_335_720},
}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("kind", ["A", "C"])
def test_parameter_counts(kind, depth):
    with torch.device("meta"):
        net = ResNet(depth=depth, shortcut=kind, **IMAGENET)
    assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[kind][depth]


@pytest.mark.parametrize(
    ("stem", "image_size", "small"), [("auto", 64, True), ("auto", 65, False), ("cifar", 224, True), ("imagenet", 32, False)]
)
def test_stem(stem, image_size, small):
    with torch.device("meta"):
        net = ResNet(depth=18, stem=stem, in_channels=3, num_classes=10, image_size=image_size)
    assert net.conv1.kernel_size == ((3, 3) if small else (7, 7))
    assert isinstance(net.pool1, nn.Identity) == small
    assert ("stem" in net.choices) == (stem == "auto")
    if stem == "auto":
        assert str(image_size) in net.choices["stem"] and ("no pooling" in net.choices["stem"]) == small


@pytest.mark.parametrize("depth", [18, 50])
def test_zero_init_residual_starts_every_block_as_its_shortcut(depth):
    net = ResNet(depth=depth, zero_init_residual=True, in_channels=3, num_classes=2, image_size=32).eval()
    block = net.layer1[1]
    x = torch.rand(1, 64 * block.expansion, 4, 4)
    assert torch.equal(block(x.clone()), x)
    assert all(not block.last_norm.weight.any() for block in net.modules() if isinstance(block, BasicBlock | Bottleneck))
    assert ResNet(depth=depth, in_channels=3, num_classes=2, image_size=32).layer1[1].last_norm.weight.all()


def test_the_convolutions_start_as_he_et_al_draw_them():
    torch.manual_seed(0)
    net = ResNet(depth=18, in_channels=3, num_classes=2, image_size=32)
    assert net.layer3[1].conv1.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


def test_the_bottlenecks_stride_is_on_the_3x3():
    with torch.device("meta"):
        block = ResNet(depth=50, **IMAGENET).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_515_688), (34, 21_623_848)])
def test_plain_nets_have_the_counts_of_shortcut_a(depth, parameters):
    """SPEC N12."""
    with torch.device("meta"):
        net = ResNet(depth=depth, shortcut="none", **IMAGENET)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert not any(name.endswith("downsample") for name, _ in net.named_modules())


def test_a_plain_net_cannot_start_as_its_shortcuts():
    with pytest.raises(ConfigError, match=r"model\.zero_init_residual=false$"), torch.device("meta"):
        ResNet(depth=18, shortcut="none", zero_init_residual=True, **IMAGENET)
