"""The output file of a decoder process: written in pieces at any offset."""

from __future__ import annotations

import os
from collections.abc import Callable

_BUFFER_BYTES = 1 << 18


def write_at(output: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes all of the data. Raises OSError if the output would exceed its limit."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(output, rest, offset)
        rest, offset = rest[written:], offset + written


class PieceWriter:
    """Hands over consecutive samples or frames in pieces: each is written to the start of the output.

    `hand_over` returns when the server has taken the given number of bytes.
    """

    def __init__(self, output: int, piece_bytes: int, hand_over: Callable[[int], None]) -> None:
        self._output = output
        self._piece_bytes = piece_bytes
        self._hand_over = hand_over
        self._buffer = bytearray()

    def append_piece(self, data: bytes | memoryview) -> None:
        self._buffer += data
        while len(self._buffer) >= self._piece_bytes:
            self._send(self._piece_bytes)

    def write_buffer(self) -> None:
        """Hands over what is still buffered."""
        if self._buffer:
            self._send(len(self._buffer))

    def _send(self, size_bytes: int) -> None:
        write_at(self._output, self._buffer[:size_bytes], 0)
        del self._buffer[:size_bytes]
        self._hand_over(size_bytes)


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
