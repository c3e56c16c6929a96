"""What the fault tests share: the count of what was injected, and chance that can be repeated."""

import os
import random

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
