"""Memory that a CPU training step frees is kept for the next step, in place of being handed to the system and asked for again.

glibc gives blocks of over 128 KiB (growing to 32 MiB) maps of their own, and returns free memory at the heap's end. A training step
frees and asks for the same large tensors over and over, and the system must fill each page with zeros again: 2,000 page faults a step
for LeNet-5, 20,000 for ResNet-20. See mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Within the block the process keeps what it frees; afterwards it is given back. Does nothing where malloc is not glibc's."""
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)  # as an unsigned number: never
    try:
        yield
    finally:
        for name, value in _DEFAULTS.items():
            mallopt(name, value)
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt():
    """The function, if this process has it."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (musl has neither it nor mallopt)
        return library.mallopt
    except (OSError, AttributeError):
        return None
