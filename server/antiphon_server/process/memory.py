"""Memory that a request took goes back to the system, and the collector leaves alone what start-up has made.

glibc is told so before there are threads. By itself it takes the size of the largest buffer that was ever
freed for the size that it should keep, in an arena a thread; decoded media are megabytes, and the server
would grow to their sum over all its threads.
"""

from __future__ import annotations

import ctypes
import gc
import os

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# From this size on a buffer is mapped by itself, and unmapped as it is freed.
LARGE_BYTES = 1 << 20
_KEPT_BYTES = 8 << 20


def return_large_buffers() -> bool:
    """Whether it was done: not where the C library has no `mallopt`, nor where the operator has chosen."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


def keep_what_is_there() -> None:
    """All objects stay for good: to look through a million of them would hold the event loop for 0.7 s."""
    gc.collect()
    gc.freeze()
    # Whole collections wait until a quarter has come to what the last one left: to nothing, from here on.
    gc.collect()
