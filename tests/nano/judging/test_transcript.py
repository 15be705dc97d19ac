"""Word error rates: homophones are equal, and edits are counted correctly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_nano.judging.gates import Floor, Gate
from antiphon_nano.judging.transcript import errors, score, words_of

_WORDS = st.lists(st.sampled_from("abcd"), max_size=7)


@pytest.mark.parametrize(
    ("meant", "heard"),
    [
        ("The answer is thirty two.", "the answer is 32"),
        ("I count: seventeen, sixteen, fifteen.", "I count 1716-15."),
        ("I count: six, seven, eight, nine, ten.", "I count 678-910"),
        ("Ten, nine, eight.", "1098"),
        ("One hundred.", "100!"),
        ("The sun is here, too.", "The son is hear to"),
        ("There is no gray heart.", "There's no grey heart."),
        ("Three plus four equals seven.", "3 + 4 = 7"),
    ],
)
def test_spellings_of_the_same_sound_are_equal(meant: str, heard: str) -> None:
    assert words_of(meant) == words_of(heard)


@pytest.mark.parametrize(
    ("meant", "heard", "count"), [("a b c", "a c", 1), ("a b", "a x b", 1), ("a b", "b a", 2), ("", "a", 1)]
)
def test_edits_are_counted(meant: str, heard: str, count: int) -> None:
    assert errors(meant.split(), heard.split()) == count


@given(_WORDS, _WORDS, _WORDS)
def test_the_number_of_edits_is_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert errors(a, b) == errors(b, a)
    assert (errors(a, b) == 0) == (a == b)
    assert errors(a, c) <= errors(a, b) + errors(b, c)


def test_a_score_is_over_all_words() -> None:
    found = score(["One two three.", "Four."], ["one two tree", "four"])
    assert (found.errors, found.words, found.exact, found.texts) == (1, 4, 1, 2)
    assert found.word_error_rate == 25


def test_a_gate_passes_up_to_its_points() -> None:
    gate = Gate("codec", "held", 6.0)
    report = {"codec": {"wer": 10.0}, "held": {"wer": 4.0}}
    assert gate.verdict(report)[0]
    assert not gate.verdict(report | {"codec": {"wer": 10.1}})[0]
    with pytest.raises(KeyError):
        gate.verdict({"codec": {"wer": 1.0}})


def test_a_floor_is_a_minimum() -> None:
    floor = Floor("codes", "code0_perplexity", 100.0)
    assert floor.verdict({"codes": {"code0_perplexity": 100.0}})[0]
    assert not floor.verdict({"codes": {"code0_perplexity": 12.0}})[0]
