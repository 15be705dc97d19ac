"""A cut text gets one full stop for the Talker, and only if it has none."""

from __future__ import annotations

import pytest

from antiphon_executor.turn.cut_text import CutText


def decode(token_ids: list[int]) -> str:
    return "".join(map(chr, token_ids))


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def closed(before: str, last: str) -> str:
    """One token a character. `last` is what the last delta brings."""
    text = CutText(decode, encode)
    text.remember(encode(before))
    return decode(text.with_full_stop(encode(last)))


@pytest.mark.parametrize(
    ("before", "last", "read"),
    [
        ("One, t", "wo", "wo."),
        ("One", ",", "."),
        ("One", " -", " ."),
        ("One", "", "."),
        ("你", "好", "好。"),
        ("你好", "，", "。"),
        ("नमस्", "ते", "ते।"),
        ("he said ", '"no', '"no.'),
    ],
)
def test_an_open_end_gets_the_full_stop_of_its_script_instead_of_a_comma(
    before: str, last: str, read: str
) -> None:
    assert closed(before, last) == read


@pytest.mark.parametrize(
    ("before", "last"), [("Yes", "."), ("Yes.", ""), ("Is i", "t?"), ('"Yes.', '"'), ("", "")]
)
def test_a_closed_end_and_an_answer_without_words_stay_unchanged(before: str, last: str) -> None:
    assert closed(before, last) == last
