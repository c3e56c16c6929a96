"""How groups are split."""

import pytest
import torch

from cnntrain.errors import ConfigError
from cnntrain.optimizer.groups import can_fuse, split


def parameter(*shape):
    return torch.nn.Parameter(torch.zeros(*shape))


def test_each_group_is_split_and_keeps_its_scale_and_nothing_else():
    filters, bias, head = parameter(2, 1, 3, 3), parameter(2), parameter(5, 2)
    given = [{"params": [filters, bias], "lr_scale": 0.1, "name": "body"}, {"params": [head], "lr_scale": 2.0}]
    assert split(given, lr=0.5, weight_decay=0.01, decay_norms=False) == [
        {"params": [filters], "lr": 0.05, "lr_scale": 0.1, "weight_decay": 0.01},
        {"params": [bias], "lr": 0.05, "lr_scale": 0.1, "weight_decay": 0.0},
        {"params": [head], "lr": 1.0, "lr_scale": 2.0, "weight_decay": 0.01},
    ]
    assert len(split(given, lr=0.5, weight_decay=0.01, decay_norms=True)) == 2


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="no parameter"):
        split([{"params": [], "lr_scale": 1.0}], lr=0.1, weight_decay=0.0, decay_norms=False)
    with pytest.raises(ConfigError, match="auto"):
        split([{"params": [parameter(1)], "lr_scale": 1.0}], lr="auto", weight_decay=0.0, decay_norms=False)


def test_what_can_be_fused():
    assert can_fuse([{"params": [parameter(2), parameter(2, 2)]}])
    assert not can_fuse([{"params": [parameter(2), torch.zeros(2, dtype=torch.complex64)]}])
    assert not can_fuse([{"params": [torch.zeros(2, device="meta")]}])
