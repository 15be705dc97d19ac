"""Parser of tool calls in an answer's text, as Hermes and Qwen write them: `<tool_call>{JSON}</tool_call>`.

Plain text passes as soon as it cannot be part of a call. A call with invalid JSON or without a name stays
text. Nothing is executed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from antiphon_server.chat.prompt.template import CALL_OPENING as OPENING
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.openai_api.limits import MAX_TOOL_CALLS

CLOSING = "</tool_call>"


@dataclass(frozen=True, slots=True)
class PlainText:
    text: str


@dataclass(frozen=True, slots=True)
class CalledTool:
    """`arguments`: JSON text, or its beginning if `MoreArguments` follow."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class MoreArguments:
    """More of the JSON text of the arguments of call `index`."""

    index: int
    text: str


AnswerPart = PlainText | CalledTool | MoreArguments


class ToolCallParser:
    """Parses one choice's text. `make_id` names each call; calls beyond `max_calls` are dropped."""

    def __init__(self, make_id: Callable[[], str], max_calls: int = MAX_TOOL_CALLS) -> None:
        self._make_id = make_id
        self._max_calls = max_calls
        self._held = ""
        self._calls = 0

    @property
    def has_called(self) -> bool:
        return self._calls > 0

    def parse_text(self, text: str) -> list[AnswerPart]:
        """The parts that are complete with this text."""
        self._held += text
        return list(self._complete_parts())

    def finish_text(self) -> list[AnswerPart]:
        """The rest. An unfinished call is text."""
        rest, self._held = self._held, ""
        return [PlainText(rest)] if rest and not (self.has_called and rest.isspace()) else []

    def _complete_parts(self) -> Iterator[AnswerPart]:
        while self._held:
            start = self._held.find(OPENING)
            if start < 0:
                yield from self._plain_part(_plain_chars(self._held))
                return
            yield from self._plain_part(len(self._held[:start].rstrip()))
            start = self._held.find(OPENING)
            end = self._held.find(CLOSING, start)
            if end < 0:
                return
            written, self._held = self._held[: end + len(CLOSING)], self._held[end + len(CLOSING) :]
            call = self._call_of(written[start + len(OPENING) : -len(CLOSING)])
            if call is None:
                yield PlainText(written)
            elif call.index < self._max_calls:
                yield call

    def _plain_part(self, chars: int) -> Iterator[AnswerPart]:
        plain, self._held = self._held[:chars], self._held[chars:]
        if plain:
            yield PlainText(plain)

    def _call_of(self, text: str) -> CalledTool | None:
        call = _json_of(text)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        arguments = call.get("arguments", {})
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        called = CalledTool(self._calls, self._make_id(), call["name"], arguments)
        self._calls += 1
        return called


def _plain_chars(text: str) -> int:
    """How many characters of `text` cannot be part of a call, nor of the white space before one."""
    for size in range(min(len(OPENING) - 1, len(text)), 0, -1):
        if text.endswith(OPENING[:size]):
            text = text[:-size]
            break
    return len(text.rstrip())


def _json_of(text: str) -> Any:
    """None if the text is not JSON, is nested too deep, or holds half of a surrogate pair."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return None


# The schema of a forced call fixes the order of its properties.
_CALL_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')


class ForcedCallParser(ToolCallParser):
    """Parses an answer that must follow the schema of one call: its whole text is the JSON of that call.

    The arguments pass as they are generated. An answer that is cut off is a call with a part of them; nothing
    of it is plain text.
    """

    def __init__(self, make_id: Callable[[], str], max_calls: int = MAX_TOOL_CALLS) -> None:
        super().__init__(make_id, max_calls)
        self._object = _ObjectEnd()

    def _complete_parts(self) -> Iterator[AnswerPart]:
        if not self.has_called:
            head = _CALL_HEAD.match(self._held)
            name = _json_of(head.group(1)) if head else None
            if head is None or name is None:
                return
            yield CalledTool(self._calls, self._make_id(), name, "")
            self._calls += 1
            self._held = self._held[head.end() :]
        text, self._held = self._held, ""
        arguments = self._object.take(text)
        if arguments:
            yield MoreArguments(self._calls - 1, arguments)

    def finish_text(self) -> list[AnswerPart]:
        text, self._held = self._held, ""
        call = None if self.has_called else self._call_of(text)
        return [call] if call else []


class _ObjectEnd:
    """Finds the end of one JSON object in a text that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_over = False
        self._in_string = False
        self._is_escaped = False

    def take(self, text: str) -> str:
        """What of `text` belongs to the object."""
        if self._is_over:
            return ""
        for number, char in enumerate(text):
            self._read(char)
            if self._is_over:
                return text[: number + 1]
        return text

    def _read(self, char: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._in_string:
            self._is_escaped = char == "\\"
            self._in_string = char != '"'
        elif char == '"':
            self._in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            self._is_over = self._depth <= 0


def tool_call_parser(form: AnswerForm) -> ToolCallParser | None:
    """The parser of one choice's text; None if the request offers no tools."""
    if form.tool_use == "none":
        return None
    kind = ForcedCallParser if form.tool_use == "forced" else ToolCallParser
    return kind(lambda: f"call_{secrets.token_hex(12)}", MAX_TOOL_CALLS if form.tool_use == "many" else 1)
