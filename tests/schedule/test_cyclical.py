"""Smith's three policies against his pseudo-code and torch's CyclicLR."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CyclicLR

from cnntrain.errors import ConfigError
from cnntrain.schedule.cyclical import ExpRange, Triangular, Triangular2

POLICIES = {"triangular": Triangular, "triangular2": Triangular2, "exp_range": ExpRange}
PEAK, BASE, GAMMA = 0.3, 0.1, 0.99


def smith(policy, it, stepsize, base, peak):
    """The pseudo-code of arXiv 1506.01186, sections 3.2 and 7, as printed; exp_range with torch's amplitude."""
    cycle = math.floor(1 + it / (2 * stepsize))
    x = abs(it / stepsize - 2 * cycle + 1)
    height = (peak - base) * max(0, 1 - x)
    return base + height * {"triangular": 1, "triangular2": 1 / 2 ** (cycle - 1), "exp_range": GAMMA**it}[policy]


def make(policy, clock, **config):
    """A policy with the constants above."""
    extra = {"gamma": GAMMA, "bounds": "amplitude"} if policy == "exp_range" else {}
    return POLICIES[policy](clock=clock, lr=PEAK, base=BASE, **extra | config)


def in_torch(policy, stepsize, steps, momentum):
    """Learning rate and momentum of torch's CyclicLR at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    low, high = momentum
    schedule = CyclicLR(
        optimizer,
        BASE * PEAK,
        PEAK,
        step_size_up=stepsize,
        step_size_down=stepsize,
        mode=policy,
        gamma=GAMMA,
        base_momentum=low,
        max_momentum=high,
    )
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cycle", [40, 41, 7, 2])
def test_equals_the_pseudo_code_and_torch(policy, cycle, clock):
    schedule = make(policy, clock(130), cycle=f"{cycle}it", momentum=(0.85, 0.95))
    for step, (lr, momentum) in enumerate(in_torch(policy, cycle / 2, 130, (0.85, 0.95))):
        values = schedule(step)
        assert values["lr"] == pytest.approx(smith(policy, step, cycle / 2, BASE * PEAK, PEAK), rel=1e-12)
        assert values["lr"] == pytest.approx(lr, rel=1e-9)
        assert values["momentum"] == pytest.approx(momentum, rel=1e-9)


def test_exp_range_of_the_paper_shrinks_both_bounds(clock):
    both = ExpRange(clock=clock(100), lr=PEAK, base=BASE, cycle="40it", gamma=GAMMA, bounds="both")
    for step in range(100):
        assert both(step)["lr"] == pytest.approx(GAMMA**step * smith("triangular", step, 20, BASE * PEAK, PEAK), rel=1e-12)


def test_auto_gamma_leaves_a_tenth_at_the_end(clock):
    schedule = ExpRange(clock=clock(80), lr=PEAK, base=BASE, cycle="25%")
    assert schedule(80)["lr"] == pytest.approx(PEAK * BASE / 10)
    assert "gamma=auto" in schedule.notes[-1]


def test_zero_gamma_is_refused(clock):
    with pytest.raises(ConfigError, match="gamma"):
        ExpRange(clock=clock(80), lr=PEAK, gamma=0.0)


def test_cycle_is_two_step_sizes_and_the_default_is_one_triangle(clock):
    schedule = Triangular(clock=clock(100), lr=1.0)
    assert [schedule(step)["lr"] for step in (0, 50, 100)] == pytest.approx([0.01, 1.0, 0.01])
    assert "momentum" not in schedule(3)


def test_a_share_of_the_run_is_rounded_up(clock):
    schedule = Triangular(clock=clock(102), lr=1.0, cycle="25%")  # 25.5 steps
    assert schedule(26)["lr"] == pytest.approx(0.01)


@given(total=st.integers(1, 300), cycle=st.integers(1, 400), policy=st.sampled_from(list(POLICIES)), step=st.integers(0, 1000))
def test_bounds_and_continuity(total, cycle, policy, step, clock):
    schedule = make(policy, clock(total), cycle=f"{cycle}it", momentum=[0.85, 0.95])
    now, after = schedule(step), schedule(step + 1)
    assert PEAK * BASE - 1e-12 <= now["lr"] <= PEAK + 1e-12
    assert 0.85 - 1e-12 <= now["momentum"] <= 0.95 + 1e-12
    # Half a cycle is the whole height, so no step is steeper; exp_range adds its own shrinking.
    assert abs(after["lr"] - now["lr"]) <= PEAK * ((1 - BASE) * (2 / cycle + (1 - GAMMA)) + 1e-9)
    if policy == "triangular":
        assert schedule(step + cycle) == now


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("total", [0, 1, 2])
def test_tiny_runs_do_not_crash(policy, total, clock):
    schedule = POLICIES[policy](clock=clock(total), lr=1.0)
    assert all(0 <= schedule(step)["lr"] <= 1 for step in range(5))
    assert schedule.notes


@pytest.mark.parametrize(
    ("total", "cycle", "said"),
    [
        (100, "100%", None),
        (101, "50%", None),
        (100, "50it", None),
        (100, "80it", "20 steps into a cycle of 80"),
        (100, "200it", "shorter than one cycle"),
    ],
)
def test_a_run_off_a_cycles_end_is_told(total, cycle, said, clock):
    notes = Triangular(clock=clock(total), lr=1.0, cycle=cycle).notes
    assert (said in notes[0]) if said else not notes


def test_momentum_bounds_in_the_wrong_order(clock):
    with pytest.raises(ConfigError, match=r"schedule.momentum=\[0.85,0.95\]"):
        Triangular(clock=clock(10), lr=1.0, momentum=(0.95, 0.85))
