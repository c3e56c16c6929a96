import pytest
import torch
from torch import nn

from cnntrain.engine.average import Ema, Lookahead, NoAverage, Swa
from cnntrain.engine.clock import Clock

CLOCK = Clock(num_samples=40, batch_size=4, epochs=4)  # 40 steps


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def train(model):
    """Change the weights and statistics somehow."""
    with torch.no_grad():
        model[0].weight.add_(torch.randn(2, 3))
    model(torch.randn(4, 3))


def test_ema_follows_its_formula(model):
    average = Ema(model=model, decay=0.9, every=2)
    expected = model[0].weight.detach().clone()
    for step in range(1, 41):
        train(model)
        average.update(step)
        if step % 2 == 0:
            decay = min(0.9, (1 + step // 2) / (10 + step // 2))
            expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(average.model[0].weight.detach(), expected)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not any(p.requires_grad for p in average.model.parameters())


def test_off_is_the_model_itself(model):
    average = NoAverage(model=model)
    average.update(1)
    assert average.model is model and average.tensors() == {}


def test_lookahead_follows_its_formula_and_sets_the_weights_back(model):
    average = Lookahead(model=model, clock=CLOCK, decay=0.9, every=3, power=2.0)
    slow = [model[0].weight.detach().clone(), model[1].running_mean.clone()]
    for step in range(1, 41):
        train(model)
        fast = [model[0].weight.detach().clone(), model[1].running_mean.clone()]
        average.update(step)
        if step % 3 == 0:
            keep = 0.9**3 * (step / 40) ** 2
            slow = [keep * mine + (1 - keep) * theirs for mine, theirs in zip(slow, fast, strict=True)]
        after = slow if step % 3 == 0 or step == 40 else fast
        torch.testing.assert_close([model[0].weight.detach(), model[1].running_mean], after)
        torch.testing.assert_close([average.model[0].weight.detach(), average.model[1].running_mean], slow)
    assert model[1].num_batches_tracked == 40
    assert model[0].weight.requires_grad and not average.model[0].weight.requires_grad


def test_swa_is_the_mean_of_the_weights_after_its_start(model):
    average = Swa(model=model, clock=CLOCK, start="50%", every="5it")
    seen = []
    for step in range(1, 41):
        train(model)
        average.update(step)
        if step in (25, 30, 35, 40):
            seen.append([model[0].weight.detach().clone(), model[1].running_mean.clone()])
        if step == 24:
            assert average.model is model and average.tensors() == {}
    means = [torch.stack(values).mean(0) for values in zip(*seen, strict=True)]
    torch.testing.assert_close([average.model[0].weight.detach(), average.model[1].running_mean], means)
    assert average.tensors().keys() == model.state_dict().keys()


def test_swa_goes_on_where_it_was(model):
    average = Swa(model=model, clock=CLOCK, start="50%", every="5it")
    assert average.model is model
    average.go_to(24)
    assert average.model is model
    average.go_to(25)
    assert average.model is not model
