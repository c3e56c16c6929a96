"""What the fault tests share: the count of what was injected, and chance that can be repeated."""

import os
import random
import sys

import pytest


@pytest.fixture
def fault(request):
    """Note an injected fault: its row in the plan (``A1``) and what it is; the suite's end counts the distinct ones of passed tests."""

    def note(row: str, what: object = "") -> None:
        request.node.user_properties.append(("fault", f"{row} {what or request.node.name}"))

    return note


@pytest.fixture
def chance(request):
    """A random generator for this test alone; ``CNNTRAIN_TEST_SEED`` chooses another stream."""
    return random.Random(f"{os.environ['CNNTRAIN_TEST_SEED']} {request.node.name}")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in, so that whatever is left behind is seen; composing is quick, and no run begins."""
    from faults.commands import Remembering

    from cnntrain.config import compose
    from cnntrain.job import Job

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(compose, "Composer", Remembering)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def begin(job, *args, **kwargs):
        raise AssertionError("it was accepted")

    monkeypatch.setattr(Job, "call", begin)
