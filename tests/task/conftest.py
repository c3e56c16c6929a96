import pytest

from cnntrain import cli

SMALL = (
    "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=203 data.test_samples=60 data.classes=4 epochs=2 "
    "batch_size=16 machine.threads=1 report.progress=off"
).split()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Train a tiny run in a folder of its own; ``name`` is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words, name="run"):
        return cli.call("train", *SMALL, f"hydra.run.dir={name}", *words)

    return run
