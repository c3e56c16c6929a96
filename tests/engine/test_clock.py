import pytest

from cnntrain.engine.clock import Clock
from cnntrain.errors import ConfigError


@pytest.mark.parametrize(
    ("samples", "batch", "steps"), [(100, 10, 10), (101, 10, 10), (102, 10, 11), (10, 10, 1), (11, 10, 1), (5, 1, 5), (3, 2, 1), (4, 3, 1)]
)
def test_an_epoch_is_all_samples_but_a_last_one_alone(samples, batch, steps):
    assert Clock(num_samples=samples, batch_size=batch, epochs=1).steps_per_epoch == steps


def test_durations_become_steps():
    clock = Clock(num_samples=1000, batch_size=10, epochs=20)
    assert (clock.total, clock.num_epochs) == (2000, 20)
    assert [clock.steps(value) for value in (1, 0.5, "7it", "10%", "100%", 0, 1e-9)] == [100, 50, 7, 200, 2000, 0, 1]


def test_a_run_may_end_within_an_epoch():
    clock = Clock(num_samples=1000, batch_size=10, epochs="250it")
    assert (clock.total, clock.num_epochs) == (250, 3)
    assert [(clock.start(epoch), clock.stop(epoch)) for epoch in range(3)] == [(0, 100), (100, 200), (200, 250)]
    assert Clock(num_samples=1000, batch_size=10, epochs=0.5).total == 50


@pytest.mark.parametrize(
    ("batch", "epochs", "word"),
    [(1001, 1, "larger than the training set of 1000"), (10, "10%", "share of itself"), (10, 0.001, "less than one step")],
)
def test_impossible_runs_are_refused(batch, epochs, word):
    with pytest.raises(ConfigError, match=word):
        Clock(num_samples=1000, batch_size=batch, epochs=epochs)
