"""Reasoning apart from the answer: tags split anywhere, cut thoughts, prompts that open the tag, tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.chat.response.reasoning import ReasoningSplitter

TEXTS = {
    "<think>\nWhat is 2?\n</think>\n\nFour.": ("What is 2?", "Four."),
    "  \n<think>a</think>b": ("a", "b"),
    "<think>\n\n</think>\n\nFour.": ("", "Four."),
    "<think>a < b </thin </think> <b> </think>": ("a < b </thin", "<b> </think>"),
    "Four.": ("", "Four."),
    " <thinking> is a tag": ("", " <thinking> is a tag"),
    "Say <think>no</think>.": ("", "Say <think>no</think>."),
    "<think>cut": ("cut", ""),
    "<think>cut </thi": ("cut </thi", ""),
    "<thi": ("", "<thi"),
    "<": ("", "<"),
    "\n\n": ("", "\n\n"),
    "": ("", ""),
}
OPENED = {
    "What is 2?\n</think>\n\nFour.": ("What is 2?", "Four."),
    "<think>What?</think>Four.": ("What?", "Four."),
    "</think>Four.": ("", "Four."),
    "cut off": ("cut off", ""),
    "<thi": ("<thi", ""),
    "": ("", ""),
}


def split(pieces: list[str], *, is_open: bool) -> tuple[str, str, int]:
    splitter = ReasoningSplitter(is_open)
    parts = [splitter.split(piece, 1) for piece in pieces] + [splitter.finish()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts), splitter.tokens


@given(st.sampled_from(sorted(TEXTS)), st.integers(1, 9))
def test_any_split_of_the_text_gives_the_same_parts(text: str, size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert split(pieces, is_open=False)[:2] == TEXTS[text]


@given(st.sampled_from(sorted(OPENED)), st.integers(1, 9))
def test_a_prompt_that_opens_the_tag_makes_the_text_begin_with_reasoning(text: str, size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert split(pieces, is_open=True)[:2] == OPENED[text]


@given(st.text(alphabet="<>/think ab\n", max_size=60), st.integers(1, 5))
def test_text_without_an_opening_tag_passes_unchanged(text: str, size: int) -> None:
    text = "a" + text
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert split(pieces, is_open=False) == ("", text, 0)


@pytest.mark.parametrize(
    ("pieces", "is_open", "tokens"),
    [
        (["<think>", "a", "b", "</think>", "\n\n", "Four", "."], False, 4),
        (["<th", "ink>", "a", "</thi", "nk>", "Four", "."], False, 5),
        (["a", "b", "</think>", "\n\n", "Four"], True, 3),
        (["a", "b"], True, 2),
        (["<", "b"], True, 2),
        (["<"], True, 1),
        (["Four", "."], False, 0),
        (["a", "", "b", "</think>c"], True, 4),
    ],
)
def test_tokens_up_to_the_closing_tag_are_reasoning(pieces: list[str], is_open: bool, tokens: int) -> None:
    assert split(pieces, is_open=is_open)[2] == tokens


def test_reasoning_passes_before_its_end() -> None:
    splitter = ReasoningSplitter(is_open=False)
    seen = [splitter.split(piece, 1)[0] for piece in ("<think>\n", "first", " second", " <", "/")]
    assert seen == ["", "first", " second", "", ""]


def test_a_piece_of_several_tokens_is_counted_by_its_share() -> None:
    splitter = ReasoningSplitter(is_open=True)
    assert splitter.split("ab</think>" + "c" * 10, 8) == ("ab", "c" * 10)
    assert splitter.tokens == 4
