"""A constant learning rate after a warm-up, against torch's LinearLR."""

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR

from cnntrain.schedule.constant import Constant


@pytest.mark.parametrize("warmup", [0, 1, 8])
def test_equals_torch(warmup, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference = LinearLR(optimizer, start_factor=0.25 if warmup else 1.0, total_iters=warmup)
    schedule = Constant(clock=clock(20), lr=0.4, warmup=f"{warmup}it", warmup_from=0.25)
    for step in range(20):
        assert schedule(step)["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()
    assert not schedule.notes


def test_a_warm_up_as_long_as_the_run_is_told(clock):
    schedule = Constant(clock=clock(5), lr=1.0, warmup="100%")
    assert "whole run" in schedule.notes[0]
    assert schedule(500) == {"lr": 1.0}
