"""Reader of a multipart/form-data body that arrives in pieces, on python-multipart's streaming parser.

The parts, their headers and all that stands around them are bounded; the bytes of a part are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from antiphon_server.errors import BadRequest

_MAX_HEADERS = 8
_HEADER_BYTES = 4 << 10
_BOUNDARY_BYTES = 70
# Browsers escape these three characters, and clients of Python do so after them.
_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))


@dataclass(frozen=True, slots=True)
class PartStart:
    """The head of a part. `filename`: as the client gives it; None for a plain field."""

    name: str
    filename: str | None
    content_type: str


@dataclass(frozen=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    pass


MultipartEvent = PartStart | PartData | PartEnd


class MultipartReader:
    """`read` takes the pieces in order; `is_complete` once the last boundary has come. It keeps no data.

    `max_parts`: more than any form without lists has.
    """

    def __init__(self, content_type: bytes, max_parts: int = 16) -> None:
        """Raises BadRequest if the header of the body names no boundary."""
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= _BOUNDARY_BYTES:
            raise _invalid("the Content-Type names no boundary")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": lambda data, start, end: self._events.append(PartData(data[start:end])),
                "on_part_end": lambda: self._events.append(PartEnd()),
                "on_end": self._end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_HEADER_BYTES,
        )
        self._events: list[MultipartEvent] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._parts = 0
        self._max_parts = max_parts
        self.is_complete = False

    def read(self, piece: bytes) -> Sequence[MultipartEvent]:
        """What `piece` completes. Raises BadRequest if the body is not valid. What follows it is dropped."""
        if not self.is_complete:
            try:
                self._parser.write(piece)
            except FormParserError:
                raise _invalid("a boundary or the head of a part is malformed or too large") from None
        events, self._events = self._events, []
        return events

    def _begin_part(self) -> None:
        self._headers = {}
        self._parts += 1
        if self._parts > self._max_parts:
            raise _invalid(f"it has more than {self._max_parts} parts")

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _invalid("a part is not form data with a name")
        filename = options.get(b"filename")
        content_type = _text(self._headers.get(b"content-type", b""))
        shown = None if filename is None else _text(filename)
        self._events.append(PartStart(_text(options[b"name"]), shown, content_type))

    def _end(self) -> None:
        self.is_complete = True


def _text(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    for escape, char in _ESCAPES:
        text = text.replace(escape, char)
    return text


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"the body is not valid multipart/form-data: {why}", code="invalid_multipart")
