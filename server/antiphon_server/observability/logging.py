"""Log lines: JSON, or plain text on a terminal, each with its request's id, escaped and of bounded length.

Messages of exceptions and libraries may quote requests: they are logged only with `logs.exception_messages`.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import re
import threading
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO

from pythonjsonlogger import json as json_logger

from antiphon_server.config.settings import LogSettings

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_LONGEST_LINE_CHARS = 8_192
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {"antiphon": logging.DEBUG, "uvicorn": logging.WARNING}
_HIDDEN_MESSAGE = "a library's message; --logs.exception-messages shows its words"
_QUEUED_LINES = 10_000
_FLUSH_S = 1.0


def configure(settings: LogSettings, stream: TextIO) -> BackgroundHandler:
    """Send our own lines, uvicorn's warnings and other libraries' errors to `stream`."""
    formatter = PlainFormatter if is_plain(settings, stream) else JsonFormatter
    handler = BackgroundHandler(stream)
    handler.setFormatter(formatter(settings.exception_messages))
    for name, floor in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(max(floor, logging.getLevelNamesMapping()[settings.level.upper()]))
    logging.getLogger().addHandler(_library_handler(handler, settings))
    # We log requests ourselves, with their id and without the query string.
    logging.getLogger("uvicorn.access").disabled = True
    return handler


def _library_handler(handler: logging.Handler, settings: LogSettings) -> logging.Handler:
    """The handler of libraries' loggers: errors only, or everything at level debug."""
    forwarding = logging.handlers.MemoryHandler(0, target=handler)
    forwarding.setLevel(logging.DEBUG if settings.level == "debug" else logging.ERROR)
    return forwarding


def is_plain(settings: LogSettings, stream: TextIO) -> bool:
    return settings.format == "plain" or (settings.format == "auto" and stream.isatty())


class BackgroundHandler(logging.Handler):
    """Passes each line to a thread that writes it: a slow reader of the log blocks no request.

    At most `_QUEUED_LINES` wait; further lines are dropped and counted.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        # Not a `queue.Queue`: a process forked while its lock is held could never log again.
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._dropped = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= _QUEUED_LINES:
            self._dropped += 1
            return
        try:
            self._lines.put(self.format(record))
        # A record that cannot be formatted must not fail the request that it is about.
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until everything logged so far is written, for at most one second."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(_FLUSH_S)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
            else:
                self._put(line)
            if self._dropped and self._lines.qsize() < _QUEUED_LINES // 2:
                dropped, self._dropped = self._dropped, 0
                fields = {"lines": dropped}
                logging.getLogger("antiphon.log").warning("lines were dropped", extra={"fields": fields})

    def _put(self, line: str) -> None:
        # An error means that the reader of the log is gone, so it cannot be logged.
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()


def escape(text: str) -> str:
    """`text` on one line, with control characters escaped and its length bounded."""
    if len(text) > _LONGEST_LINE_CHARS:
        text = text[:_LONGEST_LINE_CHARS] + "…"
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


class JsonFormatter(json_logger.JsonFormatter):
    """One JSON object per record: time, level, logger, request, message, `fields` of `extra`, exception."""

    def __init__(self, exception_messages: bool = False) -> None:
        super().__init__()
        self._exception_messages = exception_messages

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Only our own fields: python-json-logger's `message_dict` and `extra` may quote a request."""
        log_data |= {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request": escape(request_id.get()),
            "message": _message(record, self._exception_messages),
        }
        log_data |= {key: _plain_value(value) for key, value in getattr(record, "fields", {}).items()}
        if record.exc_info and record.exc_info[1] is not None:
            log_data["exception"] = describe(record.exc_info[1], self._exception_messages)

    def format(self, record: logging.LogRecord) -> str:
        """Skips the base class's own formatting of messages, tracebacks and stacks, which is not logged."""
        log_data: dict[str, Any] = {}
        self.add_fields(log_data, record, {})
        return self.serialize_log_record(self.process_log_record(log_data))


class PlainFormatter(logging.Formatter):
    """One line of text per record, for a terminal."""

    def __init__(self, exception_messages: bool = False) -> None:
        super().__init__()
        self._exception_messages = exception_messages

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(
            f" {key}={_plain_value(value)}" for key, value in getattr(record, "fields", {}).items()
        )
        message = _message(record, self._exception_messages)
        line = f"{_timestamp(record)} {record.levelname:<7} {message}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f" | {describe(record.exc_info[1], self._exception_messages)}"
        return escape(f"{line} [{request_id.get()}]")


def _message(record: logging.LogRecord, with_libraries: bool) -> str:
    """The message; of another library only its source line, unless `with_libraries`."""
    if with_libraries or record.name.split(".", 1)[0] in _LEVELS:
        return escape(record.getMessage())
    return escape(f"{_HIDDEN_MESSAGE} ({record.filename}:{record.lineno})")


def describe(error: BaseException, with_message: bool) -> str:
    """Types and source lines of an exception and its causes; their messages only `with_message`."""
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
