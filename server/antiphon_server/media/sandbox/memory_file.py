"""Unnamed files in memory, through which bytes pass between the server and its decoders; bounded and sealed.

A decoder makes none itself: it gets the descriptors. What it maps of them counts here, by their size.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence

_COPY_BYTES = 1 << 20
_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_FROZEN = _FIXED_SIZE | fcntl.F_SEAL_WRITE


@contextlib.contextmanager
def memory_file() -> Iterator[int]:
    """An empty one. Raises OSError where descriptors or memory are short."""
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def allot(descriptor: int, size_bytes: int) -> None:
    """Gives it a size that no writer can change."""
    os.ftruncate(descriptor, size_bytes)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)


def written(descriptor: int, size_bytes: int) -> bytes:
    """The text at the start of a file of an allotted size."""
    return os.pread(descriptor, size_bytes, 0).rstrip(b"\0")


def fill(descriptor: int, data: Sequence[bytes]) -> None:
    """Writes the pieces one after the other, and seals the file against changes."""
    for piece in data:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)


def take(descriptor: int) -> bytearray | mmap.mmap:
    """What was written. Large results are mapped, copy-on-write: their memory returns as soon as they go."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)
    size = os.fstat(descriptor).st_size
    if size <= _COPY_BYTES:
        return bytearray(os.pread(descriptor, size, 0))
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
