"""ResNet: counts with each shortcut, the stem's choice, starting weights, and torchvision's nets as reference."""

import pytest
import torch
from torch import nn

from cnntrain.layer.residual import BasicBlock, Bottleneck
from cnntrain.model.resnet import ResNet

IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
COUNTS = {  # SPEC N10
    "A": {18: 11_515_688, 34: 21_623_848, 50: 22_780_456, 101: 41_772_584, 152: 57_416_232},
    "B": {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808},
    "C": {18: 12_043_816, 34: 22_716_840, 50: 40_128_552, 101: 76_981_288, 152: 107_335_720},
}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_parameter_counts(kind, depth):
    with torch.device("meta"):
        net = ResNet(depth=depth, shortcut=kind, **IMAGENET)
    assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[kind][depth]


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_weights_load_and_give_the_same_logits(depth):
    from torchvision.models import get_model

    torch.manual_seed(0)
    reference = get_model(f"resnet{depth}", weights=None, num_classes=5)
    for module in reference.modules():  # statistics that matter
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net = ResNet(depth=depth, stem="imagenet", in_channels=3, num_classes=5, image_size=64)
    net.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for training in (False, True):
        torch.testing.assert_close(net.train(training)(images), reference.train(training)(images), rtol=1e-5, atol=1e-5)


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
