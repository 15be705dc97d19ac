"""Anonymous files in memory (memfd) that carry bytes between the server and its decoders.

The server creates them with a fixed or limited size and seals them; decoders only get descriptors.
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
    """The descriptor of an empty file. Raises OSError if descriptors or memory run short."""
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def fix_size(descriptor: int, size_bytes: int) -> None:
    """Gives the file a size that no writer can change."""
    os.ftruncate(descriptor, size_bytes)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)


def read_text(descriptor: int, size_bytes: int) -> bytes:
    """The text at the start of a file of fixed size, without the zero bytes after it."""
    return os.pread(descriptor, size_bytes, 0).rstrip(b"\0")


def write_and_seal(descriptor: int, data: Sequence[bytes]) -> None:
    """Writes the pieces one after the other and seals the file against changes."""
    for piece in data:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)


def seal_and_read(descriptor: int) -> bytearray | mmap.mmap:
    """The content, sealed against changes, in a private writable buffer.

    More than 1 MiB is mapped copy-on-write, so that its memory is freed together with the buffer.
    """
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)
    size = os.fstat(descriptor).st_size
    if size <= _COPY_BYTES:
        return bytearray(os.pread(descriptor, size, 0))
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FROZEN)
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
