"""Log lines: one a record, nothing that breaks a terminal or a parser, nothing that a client said (R29)."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from antiphon_server.config import LogSettings
from antiphon_server.logs import JsonLines, PlainLines, configure, escape, request_id

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


@pytest.mark.parametrize("formatter", [JsonLines(), PlainLines()])
def test_no_injection_makes_a_second_line_or_reaches_the_terminal(formatter: logging.Formatter) -> None:
    token = request_id.set(INJECTION)
    try:
        line = formatter.format(record("%s", INJECTION, path=INJECTION))
    finally:
        request_id.reset(token)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert "\u2028" not in line


def test_a_json_line_has_its_fields() -> None:
    line = json.loads(JsonLines().format(record("request", status=200, path="/v1/models")))
    assert (line["message"], line["level"], line["status"], line["path"]) == (
        "request",
        "info",
        200,
        "/v1/models",
    )
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("formatter", [JsonLines, PlainLines])
def test_what_an_exception_says_is_not_logged_unless_asked_for(formatter: Any) -> None:
    quiet = formatter(exception_messages=False).format(record("failed", exc=raised()))
    assert SAID not in quiet
    assert "ValueError" in quiet
    assert "KeyError" in quiet
    assert "test_logs.py" in quiet
    assert SAID in formatter(exception_messages=True).format(record("failed", exc=raised()))


def test_a_line_is_bounded() -> None:
    assert len(escape("a" * 1_000_000)) < 10_000
    assert len(JsonLines().format(record("%s", "a" * 1_000_000))) < 20_000


def test_uvicorns_access_lines_are_silenced_since_they_carry_queries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(LogSettings(format="json"))
    try:
        logging.getLogger("uvicorn.access").error("GET /v1/x?key=secret")
        logging.getLogger("antiphon.test").info("seen")
        sys.stderr.flush()
        said = capsys.readouterr().err
    finally:
        for name in ("antiphon", "uvicorn"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger("uvicorn.access").disabled = False
    assert "secret" not in said
    assert json.loads(said)["message"] == "seen"
