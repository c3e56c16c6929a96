"""ResNeXt: widths, depths and counts; its blocks are tested in `tests/layer/test_residual.py`, its logits in `test_every.py`."""

import pytest
import torch

from cnntrain.errors import ConfigError
from cnntrain.model.resnext import CifarResNeXt, ResNeXt


def count(net):
    """Its parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(("cardinality", "group_width"), [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)])
def test_more_paths_of_fewer_channels_cost_the_same(cardinality, group_width):
    """The pairs of table 2 of the paper: ResNet-50 itself is 1×64d, and the others are as large, within three per cent."""
    with torch.device("meta"):
        net = ResNeXt(depth=50, cardinality=cardinality, group_width=group_width, in_channels=3, num_classes=1000, image_size=224)
    assert count(net) == pytest.approx(25_557_032, rel=0.03)
    assert [stage[0].conv2.in_channels for stage in (net.layer1, net.layer2, net.layer3, net.layer4)] == [
        cardinality * group_width * 2**number for number in range(4)
    ]
    if cardinality == 1:
        assert count(net) == 25_557_032  # SPEC N10


def test_the_papers_nets_for_cifar():
    with torch.device("meta"):
        narrow, wide = (CifarResNeXt(depth=29, cardinality=groups, in_channels=3, num_classes=10) for groups in (8, 16))
    assert count(narrow) == 34_426_698  # SPEC N13
    assert count(wide) / 1e6 == pytest.approx(68.1, abs=0.1)  # table 7 of the paper


def test_layers_with_weights_are_the_depth():
    with torch.device("meta"):
        net = CifarResNeXt(depth=38, in_channels=3, num_classes=10)
    on_the_way = [
        name for name, module in net.named_modules() if hasattr(module, "weight") and "bn" not in name and "downsample" not in name
    ]
    assert len(on_the_way) == 38


def test_depth_must_be_9n_and_2():
    with pytest.raises(ConfigError, match=r"9n \+ 2 \(11, 20, 29, …\).*model\.depth=29$"):
        CifarResNeXt(depth=30, in_channels=3, num_classes=10)
