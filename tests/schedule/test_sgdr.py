"""SGDR against equation 5 of the paper and torch's CosineAnnealingWarmRestarts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from cnntrain.schedule.sgdr import Sgdr


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_equals_the_paper_and_torch(growth, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference = CosineAnnealingWarmRestarts(optimizer, T_0=9, T_mult=growth, eta_min=0.04)
    schedule = Sgdr(clock=clock(150), lr=0.4, cycle="9it", growth=growth, base=0.1)
    t_cur, t_i = 0, 9
    for step in range(150):
        if t_cur == t_i:
            t_cur, t_i = 0, t_i * growth
        lr = schedule(step)["lr"]
        assert lr == pytest.approx(0.04 + 0.5 * (0.4 - 0.04) * (1 + math.cos(math.pi * t_cur / t_i)), rel=1e-12)
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        t_cur += 1
        optimizer.step()
        reference.step()


@given(total=st.integers(85, 20000))
def test_the_default_has_three_cycles_and_never_restarts_just_before_the_end(total, clock):
    schedule = Sgdr(clock=clock(total), lr=1.0)
    assert schedule(total - 1)["lr"] < 0.05
    assert not schedule.notes


def test_warm_up_goes_before_the_first_cycle(clock):
    bare, warm = (Sgdr(clock=clock(100), lr=1.0, cycle="20it", warmup=w, warmup_from=0.2) for w in (0, "8it"))
    assert [warm(step)["lr"] for step in range(8)] == pytest.approx([0.2 + 0.8 * step / 8 for step in range(8)])
    assert all(warm(step + 8) == bare(step) for step in range(100))


@given(
    total=st.integers(0, 200), cycle=st.integers(1, 300), growth=st.integers(1, 4), warmup=st.integers(0, 300), step=st.integers(0, 10**6)
)
def test_bounds_and_edges(total, cycle, growth, warmup, step, clock):
    schedule = Sgdr(clock=clock(total), lr=1.0, cycle=f"{cycle}it", growth=growth, base=0.01, warmup=f"{warmup}it")
    assert 0.01 - 1e-12 <= schedule(step)["lr"] <= 1 + 1e-12
    if growth == 1:
        assert schedule(warmup + step) == schedule(warmup + step + cycle)


def test_what_is_told(clock):
    assert "40 steps into a cycle of 80" in Sgdr(clock=clock(100), lr=1.0, cycle="20it").notes[0]
    assert "warm-up" in Sgdr(clock=clock(100), lr=1.0, warmup="100%").notes[0]
    assert "1 steps into a cycle of 20" in Sgdr(clock=clock(101), lr=1.0, cycle="20it", growth=1).notes[0]  # one step at the peak
    assert not Sgdr(clock=clock(140), lr=1.0, cycle="20it").notes
