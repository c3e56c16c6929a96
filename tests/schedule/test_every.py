"""Every shipped schedule, as its YAML gives it."""

import importlib
from pathlib import Path

import pytest
import yaml

FILES = sorted((Path(__file__).parents[2] / "conf" / "schedule").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_stays_within_the_peak_and_depends_on_the_step_alone(path, clock):
    values = yaml.safe_load(path.read_text())
    module, name = values.pop("_target_").rsplit(".", 1)
    schedule = getattr(importlib.import_module(module), name)(clock=clock(1000), lr=0.1, **values)
    run = [schedule(step) for step in range(1000)]
    assert all(0 <= now["lr"] <= 0.1 + 1e-12 and set(now) <= {"lr", "momentum"} for now in run)
    assert max(now["lr"] for now in run) > 0.07  # exp_range has shrunk by its first peak
    assert [schedule(step) for step in (7, 999, 0)] == [run[7], run[999], run[0]]
    assert all(note.startswith("gamma=auto") for note in schedule.notes)
