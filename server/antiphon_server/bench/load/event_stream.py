"""Server-sent events out of bytes, as they come.

In: pieces of a response's body, cut anywhere. Out: the data of each event that is complete, at once.
It waits for nothing: an event is handed out with the piece that holds its blank line.
"""

from __future__ import annotations

from collections.abc import Iterator

# More than any packet of sound takes; a body without line ends is no event stream.
MAX_EVENT_BYTES = 64 << 20


class EventTooLong(ValueError):
    """The body has no end of event where one was due."""


class EventReader:
    """The data of events; names, ids and comments are passed over."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises `EventTooLong`."""
        self._rest += piece
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLong(f"more than {MAX_EVENT_BYTES >> 20} MiB without an end of event")
        begin = 0
        while (end := self._rest.find(b"\n", max(begin, self._searched))) >= 0:
            line = bytes(self._rest[begin:end]).removesuffix(b"\r")
            begin = end + 1
            if line:
                self._take(line)
            elif self._data:
                data, self._data = b"\n".join(self._data), []
                yield data
        del self._rest[:begin]
        self._searched = len(self._rest)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
