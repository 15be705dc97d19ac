"""Log lines: one per record, safe for terminals and parsers, without quotes of requests."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon_server.config.settings import LogSettings
from antiphon_server.observability.logging import JsonFormatter, PlainFormatter, configure, escape, request_id
from tests.machine import slowness

pytestmark = pytest.mark.promise("R29")

INJECTION = 'x\r\n{"level": "fake"}\x1b[31mred\x1b[0m\x00\x9b\u2028end'
SAID = "my secret prompt"


def record(
    message: str, *args: object, exc: BaseException | None = None, **fields: object
) -> logging.LogRecord:
    info: Any = (type(exc), exc, exc.__traceback__) if exc else None
    made = logging.LogRecord("antiphon.test", logging.INFO, "f.py", 1, message, args, info)
    made.fields = fields
    return made


def raised() -> BaseException:
    try:
        try:
            raise KeyError(SAID)
        except KeyError as error:
            raise ValueError(f"cannot read {SAID}") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize("formatter", [JsonFormatter(), PlainFormatter()])
def test_no_injection_makes_a_second_line_or_reaches_the_terminal(formatter: logging.Formatter) -> None:
    token = request_id.set(INJECTION)
    try:
        line = formatter.format(record("%s", INJECTION, path=INJECTION))
    finally:
        request_id.reset(token)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert "\u2028" not in line


def test_a_json_line_has_its_fields() -> None:
    line = json.loads(JsonFormatter().format(record("request", status=200, path="/v1/models")))
    assert (line["message"], line["level"], line["status"], line["path"]) == (
        "request",
        "info",
        200,
        "/v1/models",
    )
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("formatter", [JsonFormatter, PlainFormatter])
def test_an_exceptions_message_is_logged_only_with_exception_messages(formatter: Any) -> None:
    quiet = formatter(exception_messages=False).format(record("failed", exc=raised()))
    assert SAID not in quiet
    assert "ValueError" in quiet
    assert "KeyError" in quiet
    assert "test_logging.py" in quiet
    assert SAID in formatter(exception_messages=True).format(record("failed", exc=raised()))


def test_a_line_is_bounded() -> None:
    assert len(escape("a" * 1_000_000)) < 10_000
    assert len(JsonFormatter().format(record("%s", "a" * 1_000_000))) < 20_000


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The stream for `configure`. It restores the loggers afterwards."""
    out = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    yield out
    logging.getLogger().handlers = handlers
    for name in ("antiphon", "uvicorn"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.access").disabled = False


def test_uvicorns_access_lines_with_queries_are_not_logged(stream: io.StringIO) -> None:
    handler = configure(LogSettings(format="json"), stream)
    logging.getLogger("uvicorn.access").error("GET /v1/x?key=secret")
    logging.getLogger("antiphon.test").info("seen")
    handler.flush()
    assert "secret" not in stream.getvalue()
    assert json.loads(stream.getvalue())["message"] == "seen"


@pytest.mark.parametrize("shown", [False, True])
def test_a_librarys_message_is_logged_only_with_exception_messages(stream: io.StringIO, shown: bool) -> None:
    """asyncio's "exception was never retrieved" repeats what the exception says."""
    handler = configure(LogSettings(format="json", exception_messages=shown), stream)
    logging.getLogger("asyncio").error("Task exception was never retrieved: %r", SAID, exc_info=raised())
    handler.flush()
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["logger"], line["level"]) == ("asyncio", "error")
    assert (SAID in json.dumps(line)) is shown
    assert "ValueError" in line["exception"]


def test_a_librarys_malformed_message_still_gives_a_line_without_its_words() -> None:
    malformed = record("%d tokens", SAID)
    malformed.name = "a_library"
    line = json.loads(JsonFormatter().format(malformed))
    assert (line["logger"], line["level"]) == ("a_library", "info")
    assert SAID not in json.dumps(line)


class StuckStream(io.StringIO):
    """A pipe that is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(120)
        return super().write(text)


def test_a_log_that_is_not_read_blocks_nothing_and_dropped_lines_are_counted(stream: io.StringIO) -> None:
    del stream
    stuck = StuckStream()
    handler = configure(LogSettings(format="json"), stuck)
    began = time.monotonic()
    for number in range(11_000):
        logging.getLogger("antiphon.test").info("%d", number)
    assert time.monotonic() - began < 10 * slowness()
    stuck.go_on.set()
    for _ in range(20):
        handler.flush()
    lines = [json.loads(line) for line in stuck.getvalue().splitlines()]
    (dropped,) = [line["lines"] for line in lines if line["message"] == "lines were dropped"]
    assert len(lines) - 1 + dropped == 11_000


def test_a_record_that_cannot_be_formatted_does_not_raise(stream: io.StringIO) -> None:
    handler = configure(LogSettings(format="json"), stream)
    logging.getLogger("antiphon.test").error("%d seconds", "many")
    logging.getLogger("antiphon.test").error("%d seconds", 2)
    handler.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["2 seconds"]
