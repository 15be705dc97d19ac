"""The output file of a decoder process: written in pieces at any offset."""

from __future__ import annotations

import os

_BUFFER_BYTES = 1 << 18


def write_at(output: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes all of the data. Raises OSError if the output would exceed its limit."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(output, rest, offset)
        rest, offset = rest[written:], offset + written


class BufferedWriter:
    """Writes consecutive small pieces from `offset` on, in blocks of at least 256 KiB."""

    def __init__(self, output: int, offset: int) -> None:
        self._output = output
        self._offset = offset
        self._buffer = bytearray()

    def append_piece(self, data: bytes | memoryview) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self.write_buffer()

    def write_buffer(self) -> None:
        """Writes what is still buffered."""
        write_at(self._output, self._buffer, self._offset)
        self._offset += len(self._buffer)
        self._buffer.clear()
