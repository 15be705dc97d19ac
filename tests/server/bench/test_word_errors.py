"""Word error rate, on cases that can be counted by hand."""

from __future__ import annotations

import pytest

from antiphon_server.bench.measure.word_errors import WordErrors, count_errors, words_of


@pytest.mark.parametrize(
    ("meant", "heard", "errors"),
    [
        ("the answer is seven", "The answer is seven!", 0),
        ("the answer is seven", "the answer seven", 1),
        ("the answer is seven", "the the answer is eleven", 2),
        ("it's late", "its late", 0),
        ("", "noise", 1),
        ("three words here", "", 3),
        ("你好世界", "你好世间", 1),
    ],
)
def test_changes_are_counted(meant: str, heard: str, errors: int) -> None:
    assert count_errors(words_of(meant), words_of(heard)) == errors


def test_the_rate_is_over_all_words() -> None:
    assert WordErrors(2, 8, 2).rate == 0.25
    assert WordErrors(0, 0, 0, failed=1).rate is None
