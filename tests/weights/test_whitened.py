import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.layer.whitening import Whitening
from cnntrain.weights.whitened import whitened


def inputs(count):
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def test_the_first_whitening_layer_is_computed_and_frozen():
    model = nn.Sequential(nn.Identity(), Whitening(1), nn.GELU(), nn.Conv2d(8, 2, 1))
    same, groups = whitened(model=model, inputs=inputs, pictures=30, eps=0.01, lr_scale={"1.bias": 4})
    expected = Whitening(1)
    expected.whiten(inputs(30), eps=0.01)
    assert same is model and torch.equal(model[1].weight, expected.weight) and not model[1].weight.requires_grad
    trained = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert trained == {id(model[1].bias): 4.0, id(model[3].weight): 1.0, id(model[3].bias): 1.0}


def test_a_model_without_such_a_layer():
    with pytest.raises(ConfigError, match="Linear has no whitening layer.*model=speedrun"):
        whitened(model=nn.Linear(2, 2), inputs=inputs)
