"""Cosine annealing against its closed form and torch's recursion."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR

from cnntrain.schedule.cosine import Cosine


@pytest.mark.parametrize("total", [1, 2, 60])
def test_equals_the_formula_and_torch(total, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference = CosineAnnealingLR(optimizer, T_max=total, eta_min=0.02)
    schedule = Cosine(clock=clock(total), lr=0.4, final=0.05)
    for step in range(total):
        lr = schedule(step)["lr"]
        assert lr == pytest.approx(0.02 + 0.5 * 0.38 * (1 + math.cos(math.pi * step / total)), rel=1e-12)
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        reference.step()


def test_the_cosine_covers_the_steps_after_the_warm_up(clock):
    schedule, rest = Cosine(clock=clock(50), lr=1.0, warmup="20%", warmup_from=0.5), Cosine(clock=clock(40), lr=1.0)
    assert [schedule(step)["lr"] for step in (0, 5, 10)] == pytest.approx([0.5, 0.75, 1.0])
    assert all(schedule(step + 10) == rest(step) for step in range(60))


@given(total=st.integers(0, 100), warmup=st.integers(0, 150), step=st.integers(0, 300))
def test_bounds_and_edges(total, warmup, step, clock):
    schedule = Cosine(clock=clock(total), lr=1.0, final=0.01, warmup=f"{warmup}it", warmup_from=0.01)
    assert 0.01 - 1e-12 <= schedule(step)["lr"] <= 1 + 1e-12
    assert schedule(max(total, warmup + 1) + step)["lr"] == pytest.approx(0.01)
    assert bool(schedule.notes) == (warmup > 0 and warmup >= total)
