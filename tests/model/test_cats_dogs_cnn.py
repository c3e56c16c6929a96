"""CatsDogsCNN: one output unit as two logits."""

import pytest
import torch
import torch.nn.functional as F

from cnntrain.errors import ConfigError
from cnntrain.model.cats_dogs_cnn import CatsDogsCNN


def test_parameters_with_one_output_unit():
    with torch.device("meta"):
        net = CatsDogsCNN(one_output=True, in_channels=3, num_classes=2, image_size=300)
    assert sum(parameter.numel() for parameter in net.parameters()) == 219_801


def test_one_output_is_the_sigmoids_binary_cross_entropy():
    torch.manual_seed(0)
    net = CatsDogsCNN(one_output=True, in_channels=3, num_classes=2, image_size=10).double()
    images, labels = torch.randn(5, 3, 10, 10, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    logits = net(images)
    assert logits.shape == (5, 2) and not logits[:, 0].any()
    torch.testing.assert_close(logits.softmax(1)[:, 1], logits[:, 1].sigmoid())
    torch.testing.assert_close(F.cross_entropy(logits, labels), F.binary_cross_entropy_with_logits(logits[:, 1], labels.double()))


def test_one_output_needs_two_classes():
    with pytest.raises(ConfigError, match="two classes.*3.*model.one_output=false"):
        CatsDogsCNN(one_output=True, in_channels=3, num_classes=3, image_size=32)


def test_too_small_an_image():
    with pytest.raises(ConfigError, match="layer pool1 .*data.image_size=6,"):
        CatsDogsCNN(in_channels=3, num_classes=2, image_size=5)
