import torch
from torch import nn

from cnntrain.engine.ema import ema


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = ema(model=model, decay=0.9, every=2)
    expected = model[0].weight.detach().clone()
    for step in range(1, 41):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 3))
        model(torch.randn(4, 3))
        average.update(step)
        if step % 2 == 0:
            decay = min(0.9, (1 + step // 2) / (10 + step // 2))
            expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(average.model[0].weight.detach(), expected)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not any(p.requires_grad for p in average.model.parameters())


def test_off_is_the_model_itself():
    model = nn.Linear(2, 2)
    average = ema(model=model)
    average.update(1)
    assert average.model is model and average.tensors() == {}
