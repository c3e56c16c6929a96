import resource
import subprocess
import sys

import pytest
import torch

from cnntrain.engine import allocator
from cnntrain.engine.allocator import keeping_freed_memory


def faults() -> int:
    """Pages that the system has given this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def work(sizes: tuple[int, ...] = (20_000_000, 15_000_000, 9_000_000)) -> int:
    """Ask for tensors of 36 to 80 MB, fill and free them, five times; returns the pages that took."""
    before = faults()
    for _ in range(5):
        for size in sizes:
            torch.empty(size).fill_(1)
    return faults() - before


@pytest.mark.skipif(allocator._mallopt() is None, reason="malloc is not glibc's here")
def test_freed_memory_is_kept_within_the_block_and_given_back_after_it():
    # In a process of its own: what other tests have left in the heap would take the place of what is measured.
    done = subprocess.run(
        [sys.executable, "-c", "import test_allocator as t; t.check()"], capture_output=True, text=True, cwd="tests/engine"
    )
    assert done.returncode == 0, done.stderr


def check() -> None:
    """What the test asserts."""
    outside = work()
    with keeping_freed_memory():
        work()
        assert work() * 50 < outside, outside
        kept = resident()
    assert resident() < kept - 60_000_000
    assert work() * 2 > outside


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_nothing_happens_where_there_is_no_such_malloc(monkeypatch):
    monkeypatch.setattr(allocator, "_mallopt", lambda: None)
    with keeping_freed_memory():
        pass
