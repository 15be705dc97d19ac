"""Log lines: JSON, or plain text on a terminal, each with the id of its request.

In: records of the standard logging. Out: one line a record, control characters escaped, length bounded.
It never writes what an exception says unless the operator asks for it: that may quote a client's words.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any

from antiphon_server.config import LogSettings

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_LONGEST_LINE_CHARS = 8_192
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {"antiphon": logging.DEBUG, "uvicorn": logging.WARNING}


def configure(settings: LogSettings) -> None:
    """Send our own lines and uvicorn's warnings to standard error. Other libraries keep their loggers."""
    plain = settings.format == "plain" or (settings.format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    formatter = PlainLines if plain else JsonLines
    handler.setFormatter(formatter(settings.exception_messages))
    for name, floor in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(max(floor, logging.getLevelNamesMapping()[settings.level.upper()]))
    # Ours carries the request id and no query string; uvicorn's has neither.
    logging.getLogger("uvicorn.access").disabled = True


def escape(text: str) -> str:
    """`text` on one line, without control characters, of bounded length."""
    if len(text) > _LONGEST_LINE_CHARS:
        text = text[:_LONGEST_LINE_CHARS] + "…"
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, request, message, and what `extra` gives as `fields`."""

    def __init__(self, exception_messages: bool = False) -> None:
        super().__init__()
        self._exception_messages = exception_messages

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request": escape(request_id.get()),
            "message": escape(record.getMessage()),
        }
        line |= {key: _plain_value(value) for key, value in getattr(record, "fields", {}).items()}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1], self._exception_messages)
        return json.dumps(line, ensure_ascii=True)


class PlainLines(logging.Formatter):
    """For people at a terminal."""

    def __init__(self, exception_messages: bool = False) -> None:
        super().__init__()
        self._exception_messages = exception_messages

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(
            f" {key}={_plain_value(value)}" for key, value in getattr(record, "fields", {}).items()
        )
        line = f"{_timestamp(record)} {record.levelname:<7} {record.getMessage()}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f" | {describe(record.exc_info[1], self._exception_messages)}"
        return escape(f"{line} [{request_id.get()}]")


def describe(error: BaseException, with_message: bool) -> str:
    """Type and places of an exception and its causes, without what they say unless `with_message`."""
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)[-12:]
        places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        said = f" ({current})" if with_message else ""
        parts.append(f"{type(current).__name__}{said} at {places or 'nowhere'}")
        current = current.__cause__ or current.__context__
    return escape("; from ".join(parts))


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _plain_value(value: object) -> object:
    return value if isinstance(value, int | float | bool) or value is None else escape(str(value))
