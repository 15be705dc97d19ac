"""Tool calls are found for any cut of the text, and other text is unchanged."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.chat.response.tool_calls import (
    AnswerPart,
    CalledTool,
    ForcedCallParser,
    MoreArguments,
    PlainText,
    ToolCallParser,
)

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def read(pieces: list[str], kind: type[ToolCallParser] = ToolCallParser) -> list[AnswerPart]:
    numbers = itertools.count()
    parser = kind(lambda: f"call_{next(numbers)}")
    parts = [part for piece in pieces for part in parser.parse_text(piece)]
    return parts + parser.finish_text()


def text_of(parts: list[AnswerPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, PlainText))


@given(st.data())
def test_calls_are_found_however_the_text_is_cut(data: st.DataObject) -> None:
    answer = f"Let me see.\n{CALL}\n{CALL}"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
    pieces = [answer[a:b] for a, b in itertools.pairwise([0, *cuts, len(answer)])]
    parts = read(pieces)
    assert text_of(parts) == "Let me see."
    assert [part for part in parts if isinstance(part, CalledTool)] == [
        CalledTool(0, "call_0", "add", '{"a": 1}'),
        CalledTool(1, "call_1", "add", '{"a": 1}'),
    ]


@given(st.lists(st.text(alphabet="<>/tol_ca {}\n", max_size=12), max_size=8))
def test_text_without_a_call_comes_out_to_the_letter(pieces: list[str]) -> None:
    if "</tool_call>" not in "".join(pieces):
        assert text_of(read(pieces)) == "".join(pieces)


def test_plain_text_is_not_held_back() -> None:
    parser = ToolCallParser(lambda: "")
    assert parser.parse_text("Hello, wor") == [PlainText("Hello, wor")]


@pytest.mark.parametrize(
    "wrong",
    [
        "<tool_call>no json</tool_call>",
        '<tool_call>{"arguments": {}}</tool_call>',
        "<tool_call>[]</tool_call>",
    ],
)
def test_what_only_looks_like_a_call_stays_text(wrong: str) -> None:
    assert text_of(read([wrong])) == wrong


def test_an_unfinished_call_is_text() -> None:
    assert text_of(read(['<tool_call>{"name": "f"'])) == '<tool_call>{"name": "f"'


def test_a_forced_answer_is_one_call_whose_arguments_pass_as_they_come() -> None:
    answer = json.dumps({"name": "add", "arguments": {"a": 'ü"}\\', "b": [{}]}}, ensure_ascii=False)
    parts = read([*answer, "\n"], ForcedCallParser)
    assert parts[0] == CalledTool(0, "call_0", "add", "")
    pieces = [part.text for part in parts[1:] if isinstance(part, MoreArguments)]
    assert len(pieces) == len(parts) - 1 > 20
    assert "".join(pieces) == '{"a": "ü\\"}\\\\", "b": [{}]}'


def test_a_forced_answer_that_was_cut_off_is_a_partial_call() -> None:
    assert read(['{"name": "add", "arg', 'uments": {"a'], ForcedCallParser) == [
        CalledTool(0, "call_0", "add", ""),
        MoreArguments(0, '{"a'),
    ]


def test_a_forced_answer_that_was_cut_off_before_its_name_is_nothing() -> None:
    assert read(['{"name": "ad'], ForcedCallParser) == []
