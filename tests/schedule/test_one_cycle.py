"""One cycle against torch's OneCycleLR and the paper's words."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from cnntrain.errors import ConfigError
from cnntrain.schedule.one_cycle import OneCycle


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("total", [1, 2, 50, 97])
@pytest.mark.parametrize("up", [0.3, 0.45])
def test_equals_torch(shape, three_phase, total, up, clock):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    reference = OneCycleLR(
        optimizer, 0.4, total, pct_start=up, anneal_strategy={"cosine": "cos"}.get(shape, shape), three_phase=three_phase,
        div_factor=20, final_div_factor=500, base_momentum=0.85, max_momentum=0.95,
    )  # fmt: skip
    schedule = OneCycle(clock=clock(total), lr=0.4, up=up, initial=0.05, final=0.05 / 500, shape=shape, three_phase=three_phase)
    for step in range(total):
        group, values = optimizer.param_groups[0], schedule(step)
        assert values["lr"] == pytest.approx(group["lr"], rel=1e-9)
        assert values["momentum"] == pytest.approx(group["momentum"], rel=1e-9)
        if step + 1 < total:
            optimizer.step()
            reference.step()


def test_three_straight_phases_of_the_paper(clock):
    schedule = OneCycle(clock=clock(101), lr=1.0, up=40 / 101, initial=0.1, final=0.001, shape="linear", three_phase=True)
    corners = {0: (0.1, 0.95), 39: (1.0, 0.85), 78: (0.1, 0.95), 100: (0.001, 0.95)}
    for (begin, start), (end, stop) in zip(list(corners.items())[:-1], list(corners.items())[1:], strict=True):
        for step in range(begin, end + 1):
            share = (step - begin) / (end - begin)
            for name, one, other in zip(("lr", "momentum"), start, stop, strict=True):
                assert schedule(step)[name] == pytest.approx(one + (other - one) * share, rel=1e-9)


@given(
    total=st.integers(0, 200),
    up=st.floats(0, 0.5),
    three=st.booleans(),
    shape=st.sampled_from(("cosine", "linear")),
    step=st.integers(0, 400),
)
def test_bounds_and_the_end(total, up, three, shape, step, clock):
    schedule = OneCycle(clock=clock(total), lr=2.0, up=up, three_phase=three, shape=shape)
    values = schedule(step)
    assert 2.0 * 4e-6 * (1 - 1e-9) <= values["lr"] <= 2.0 * (1 + 1e-9)
    assert 0.85 - 1e-12 <= values["momentum"] <= 0.95 + 1e-12
    if step >= max(total, 1):
        assert values == pytest.approx({"lr": 8e-6, "momentum": 0.95})


def test_momentum_can_be_left_alone_and_the_extremes_of_up_work(clock):
    assert set(OneCycle(clock=clock(10), lr=1.0, momentum=None)(3)) == {"lr"}
    assert OneCycle(clock=clock(10), lr=1.0, up=1.0)(9)["lr"] == pytest.approx(1.0)
    assert OneCycle(clock=clock(10), lr=1.0, up=0.0)(9)["lr"] == pytest.approx(4e-6)


def test_what_cannot_be_and_what_is_told(clock):
    with pytest.raises(ConfigError, match="three phases"):
        OneCycle(clock=clock(10), lr=1.0, up=0.6, three_phase=True)
    with pytest.raises(ConfigError, match="momentum"):
        OneCycle(clock=clock(10), lr=1.0, momentum=(0.9, 0.8))
    assert OneCycle(clock=clock(2), lr=1.0).notes and not OneCycle(clock=clock(20), lr=1.0).notes
