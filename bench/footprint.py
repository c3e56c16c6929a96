"""Memory of a process and its children by kind, and the most of it while something runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = {"anon": ("Pss_Anon:", "Pss_Shmem:"), "file": ("Pss_File:",)}


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """The largest sum over this process and its children, in bytes, of private and of mapped memory while the block runs."""
    peak, over = dict.fromkeys(KINDS, 0), threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            now = memory()
            for kind in KINDS:
                peak[kind] = max(peak[kind], now[kind])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def memory() -> dict[str, int]:
    """Bytes by kind now (man 5 proc: smaps_rollup, Pss)."""
    found = dict.fromkeys(KINDS, 0)
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    for process in [str(me), *children]:
        try:
            words = Path(f"/proc/{process}/smaps_rollup").read_text().split()
        except OSError:  # it has just ended
            continue
        for kind, names in KINDS.items():
            found[kind] += sum(int(words[words.index(name) + 1]) * 1024 for name in names if name in words)
    return found
