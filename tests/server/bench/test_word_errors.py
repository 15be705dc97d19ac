"""Word error rate on cases counted by hand, and against the definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.bench.measure.word_errors import WordErrors, count_word_errors, normalized_words

WORDS = st.lists(st.sampled_from(["a", "b", "it", "seven", "你", "é", "3"]), max_size=12)


@pytest.mark.parametrize(
    ("meant", "heard", "errors"),
    [
        ("the answer is seven", "The answer is seven!", 0),
        ("the answer is seven", "the answer seven", 1),
        ("the answer is seven", "the the answer is eleven", 2),
        ("it's late", "its late", 0),
        ("", "noise", 1),
        ("", "", 0),
        ("three words here", "", 3),
        ("你好世界", "你好世间", 1),
    ],
)
def test_changes_are_counted(meant: str, heard: str, errors: int) -> None:
    assert count_word_errors(normalized_words(meant), normalized_words(heard)) == errors


def levenshtein(reference: list[str], hypothesis: list[str]) -> int:
    """The definition, one row of the table at a time."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            best = min(diagonal + (word != other), row[j] + 1, row[j - 1] + 1)
            diagonal, row[j] = row[j], best
    return row[-1]


@given(WORDS, WORDS)
def test_errors_are_the_levenshtein_distance_in_words(reference: list[str], hypothesis: list[str]) -> None:
    assert count_word_errors(reference, hypothesis) == levenshtein(reference, hypothesis)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_are_compared_word_by_word(reference: str, hypothesis: str) -> None:
    words = normalized_words(reference), normalized_words(hypothesis)
    assert count_word_errors(*words) == levenshtein(*words)


def test_the_rate_is_over_all_words() -> None:
    assert WordErrors(2, 8, 2).rate == 0.25
    assert WordErrors(0, 0, 0, failed=1).rate is None
