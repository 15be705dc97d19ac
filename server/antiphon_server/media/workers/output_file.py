"""The output of a decoder process: written in pieces, in any order."""

from __future__ import annotations

import os

_PIECE_BYTES = 1 << 18


def write_at(output: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes all of it. Raises OSError where the output would outgrow its limit."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(output, rest, offset)
        rest, offset = rest[written:], offset + written


class PieceWriter:
    """Small pieces, one after the other, gathered to large ones."""

    def __init__(self, output: int, offset: int) -> None:
        self._output = output
        self._offset = offset
        self._pieces = bytearray()

    def add(self, data: bytes | memoryview) -> None:
        self._pieces += data
        if len(self._pieces) >= _PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        write_at(self._output, self._pieces, self._offset)
        self._offset += len(self._pieces)
        self._pieces.clear()
