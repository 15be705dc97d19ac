"""Reader of a multipart/form-data body that arrives in pieces; it keeps less than one piece of it.

The parts, their headers and all that stands around them are bounded; the bytes of a part are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote

from antiphon_server.errors import BadRequest

_MAX_PARTS = 16
_HEADER_BYTES = 4 << 10
_PADDING_BYTES = 4 << 10
_BOUNDARY = re.compile(rb"""(?:^|;)\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))""", re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)
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


class _State(Enum):
    PREAMBLE = auto()
    BOUNDARY_END = auto()
    HEADERS = auto()
    DATA = auto()
    EPILOGUE = auto()


class MultipartReader:
    """`read` takes the pieces in order; `is_complete` once the last boundary has come."""

    def __init__(self, content_type: bytes) -> None:
        """Raises BadRequest if the header of the body names no boundary."""
        found = _BOUNDARY.search(content_type)
        if found is None:
            raise _invalid("the Content-Type names no boundary")
        self._delimiter = b"\r\n--" + (found[1] or found[2])
        # The first delimiter may stand at the very beginning, without the line end before it.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._parts = 0
        self._skipped_bytes = 0

    @property
    def is_complete(self) -> bool:
        return self._state is _State.EPILOGUE

    def read(self, piece: bytes) -> Iterator[MultipartEvent]:
        """What `piece` completes. Raises BadRequest if the body is not valid."""
        self._buffer += piece
        while True:
            match self._state:
                case _State.PREAMBLE:
                    if not self._skip_preamble():
                        return
                case _State.BOUNDARY_END:
                    if not self._end_boundary():
                        return
                case _State.HEADERS:
                    start = self._take_headers()
                    if start is None:
                        return
                    yield start
                case _State.DATA:
                    data, ended = self._take_data()
                    if data:
                        yield PartData(data)
                    if not ended:
                        return
                    yield PartEnd()
                case _State.EPILOGUE:
                    self._buffer.clear()
                    return

    def _skip_preamble(self) -> bool:
        data, ended = self._take_data()
        self._skipped_bytes += len(data)
        if self._skipped_bytes > _PADDING_BYTES:
            raise _invalid("no boundary was found")
        return ended

    def _take_data(self) -> tuple[bytes, bool]:
        """The bytes up to the next delimiter; without one in the buffer, those that cannot belong to one."""
        at = self._buffer.find(self._delimiter)
        if at < 0:
            kept = len(self._delimiter) - 1
            data = bytes(self._buffer[:-kept]) if len(self._buffer) > kept else b""
            del self._buffer[: len(data)]
            return data, False
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]
        self._state = _State.BOUNDARY_END
        return data, True

    def _end_boundary(self) -> bool:
        """The rest of a boundary's line: two hyphens after the last part, else spaces and the line end."""
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._state = _State.EPILOGUE
            return True
        at = self._buffer.find(b"\r\n")
        if (at > 0 and self._buffer[:at].strip(b" \t")) or (at < 0 and len(self._buffer) > _PADDING_BYTES):
            raise _invalid("a boundary is not followed by a line end")
        if at < 0:
            return False
        # The line end stays: headers may be missing, and then the empty line follows at once.
        del self._buffer[:at]
        self._state = _State.HEADERS
        return True

    def _take_headers(self) -> PartStart | None:
        at = self._buffer.find(b"\r\n\r\n")
        if (at if at >= 0 else len(self._buffer)) > _HEADER_BYTES:
            raise _invalid("the head of a part is too large")
        if at < 0:
            return None
        lines = bytes(self._buffer[:at]).split(b"\r\n")
        del self._buffer[: at + 4]
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _invalid(f"it has more than {_MAX_PARTS} parts")
        self._state = _State.DATA
        return _part_start(lines)


def _part_start(lines: list[bytes]) -> PartStart:
    headers = {}
    for line in lines:
        name, separator, value = line.partition(b":")
        if separator:
            headers[name.strip().lower()] = value.strip().decode("utf-8", "replace")
    disposition = headers.get(b"content-disposition", "")
    if not disposition.lower().startswith("form-data"):
        raise _invalid("a part is not form data")
    given = {name.lower(): _unquote(value) for name, value in _PARAMETER.findall(disposition)}
    if "name" not in given:
        raise _invalid("a part has no name")
    filename = given.get("filename")
    if extended := given.get("filename*"):
        filename = unquote(extended.split("'", 2)[-1], errors="replace")
    return PartStart(given["name"], filename, headers.get(b"content-type", ""))


def _unquote(value: str) -> str:
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    for escape, char in _ESCAPES:
        value = value.replace(escape, char)
    return value


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"the body is not valid multipart/form-data: {why}", code="invalid_multipart")
