"""Step decay against torch's StepLR and MultiStepLR."""

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR, StepLR

from cnntrain.errors import ConfigError
from cnntrain.schedule.step import Step


@pytest.mark.parametrize(
    ("config", "make"),
    [
        ({"every": "7it"}, lambda optimizer: StepLR(optimizer, 7, gamma=0.3)),
        ({"every": 1}, lambda optimizer: StepLR(optimizer, 10, gamma=0.3)),
        ({"milestones": ["30it", "10%", 2]}, lambda optimizer: MultiStepLR(optimizer, [5, 20, 30], gamma=0.3)),
        ({"milestones": ["9it", "9it"]}, lambda optimizer: MultiStepLR(optimizer, [9, 9], gamma=0.3)),
    ],
)
def test_equals_torch(config, make, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference, schedule = make(optimizer), Step(clock=clock(50), lr=0.4, gamma=0.3, **config)
    for step in range(50):
        assert schedule(step)["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_warm_up_moves_no_drop(clock):
    bare, warm = (Step(clock=clock(20), lr=1.0, milestones=["50%"], warmup=w, warmup_from=0.0) for w in (0, "4it"))
    assert [warm(step)["lr"] for step in range(4)] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert all(warm(step) == bare(step) for step in range(4, 30))


@pytest.mark.parametrize("config", [{}, {"every": 3, "milestones": [4]}])
def test_either_every_or_milestones(config, clock):
    with pytest.raises(ConfigError, match="schedule.milestones"):
        Step(clock=clock(20), lr=1.0, **config)


def test_drops_that_never_come_are_told(clock):
    assert "never drops" in Step(clock=clock(20), lr=1.0, every=2).notes[0]
    assert "step 20, 90 are not reached" in Step(clock=clock(20), lr=1.0, milestones=[1, 2, 9]).notes[0]
    assert not Step(clock=clock(20), lr=1.0, milestones=["50%", "75%"]).notes


@pytest.mark.parametrize("total", [0, 1, 2])
def test_tiny_runs_do_not_crash(total, clock):
    for config in ({"every": "1%"}, {"milestones": ["50%", "75%"]}):
        schedule = Step(clock=clock(total), lr=1.0, warmup="1it", **config)
        assert all(0 <= schedule(step)["lr"] <= 1 for step in range(5))
