"""Linear decay against its closed form and torch's recursion."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LinearLR

from cnntrain.schedule.linear import Linear


@pytest.mark.parametrize("total", [1, 2, 60])
def test_equals_the_formula_and_torch(total, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    reference = LinearLR(optimizer, start_factor=1.0, end_factor=0.05, total_iters=total)
    schedule = Linear(clock=clock(total), lr=0.4, final=0.05)
    for step in range(total):
        lr = schedule(step)["lr"]
        assert lr == pytest.approx(0.4 * (1 - 0.95 * step / total), rel=1e-12)
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        reference.step()


def test_the_speed_runs_triangle(clock):
    schedule = Linear(clock=clock(100), lr=2.0, final=0.07, warmup="23%", warmup_from=0.2)
    assert [schedule(step)["lr"] for step in (0, 23, 100)] == pytest.approx([0.4, 2.0, 0.14])
    steps = [schedule(step)["lr"] for step in range(101)]
    assert {round(b - a, 9) for a, b in zip(steps, steps[1:23], strict=False)} == {round(1.6 / 23, 9)}
    assert {round(a - b, 9) for a, b in zip(steps[23:], steps[24:], strict=False)} == {round(1.86 / 77, 9)}


@given(total=st.integers(0, 100), warmup=st.integers(0, 150), step=st.integers(0, 300))
def test_bounds_and_edges(total, warmup, step, clock):
    schedule = Linear(clock=clock(total), lr=1.0, final=0.01, warmup=f"{warmup}it", warmup_from=0.01)
    assert 0.01 - 1e-12 <= schedule(step)["lr"] <= 1 + 1e-12
    assert schedule(max(total, warmup + 1) + step)["lr"] == pytest.approx(0.01)
    assert bool(schedule.notes) == (warmup > 0 and warmup >= total)
