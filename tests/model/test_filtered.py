"""Fixed filters before another net."""

import pytest
import torch
from torch import nn

from cnntrain.config.recipe import check
from cnntrain.errors import ConfigError
from cnntrain.layer.filters import FixedFilters
from cnntrain.model.cifar_resnet import CifarResNet
from cnntrain.model.filtered import Filtered
from cnntrain.model.lenet import LeNet5

FACTS = {"in_channels": 3, "num_classes": 5, "image_size": 16}


@pytest.mark.parametrize(("keep_image", "channels"), [(False, 6), (True, 9)])
def test_the_net_is_given_the_responses(keep_image, channels):
    torch.manual_seed(0)

    def resnet8(*, in_channels, num_classes, image_size):
        return CifarResNet(depth=8, in_channels=in_channels, num_classes=num_classes)

    net = Filtered(filters=["gaussian", "laplacian"], keep_image=keep_image, net=resnet8, **FACTS)
    assert net.net.conv1.in_channels == channels
    x = torch.randn(2, 3, 16, 16)
    filters = FixedFilters(["gaussian", "laplacian"], 3, keep_image=keep_image)
    assert torch.equal(net.eval()(x), net.net(filters(x)))


def test_what_the_net_chose_and_its_penalty_are_passed_on():
    class Fined(nn.Module):
        def __init__(self, *, in_channels, num_classes, image_size):
            super().__init__()
            self.choices = {"size": f"{image_size}"}

        def penalty(self):
            return torch.tensor(3.0)

    net = Filtered(filters=["sobel_x"], net=Fined, **FACTS)
    assert net.choices == {"size": "16"} and net.penalty() == 3
    assert Filtered(filters=["sobel_x"], net=LeNet5, **FACTS).penalty() == 0


def test_no_filters():
    with pytest.raises(ConfigError, match=r"without filters.*model\.filters=\[sobel_x,sobel_y\]"):
        Filtered(filters=[], net=LeNet5, **FACTS)


@pytest.mark.parametrize("net", ["lenet5", None, 3])
def test_what_is_no_net(net):
    with pytest.raises(ConfigError, match=r"model\.net: .* is not a node with a _target_"):
        check({"_target_": "cnntrain.model.filtered.Filtered", "filters": ["sobel_x"], "net": net}, place="model")
