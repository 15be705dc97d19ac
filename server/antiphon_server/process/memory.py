"""Memory tuning: freed media buffers go back to the system; the garbage collector skips start-up objects."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# Buffers of at least this size are mapped separately, so that freeing them unmaps them.
LARGE_BYTES = 1 << 20
_KEPT_BYTES = 8 << 20


def tune_malloc() -> bool:
    """Fix glibc's thresholds, before threads start. False if the operator has set them or glibc is absent.

    By default glibc raises its thresholds to the largest buffer ever freed, in one arena per thread. Decoded
    media take megabytes, so the process would grow to the sum over all threads.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


@contextmanager
def without_collection() -> Iterator[None]:
    """For imports: what they create stays, and looking through it again and again takes a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def freeze_startup_objects() -> None:
    """Exempt present objects from collection: scanning a million of them blocks the event loop for 0.7 s."""
    gc.collect()
    gc.freeze()
    # A full collection runs only when new objects exceed a quarter of what the last one left. Leave nothing.
    gc.collect()
