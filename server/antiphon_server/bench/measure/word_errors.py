"""Word error rate: what a judge heard against what was meant.

In: two texts. Out: how many words were changed, left out or put in. Pure.
"""

from __future__ import annotations

import re

import msgspec

# Chinese, Japanese and Korean are counted by character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class WordErrors(msgspec.Struct, frozen=True):
    """Over `answers` answers of `words` words together. `failed`: the judge did not hear so many more."""

    answers: int
    words: int
    errors: int
    failed: int = 0

    @property
    def rate(self) -> float | None:
        return self.errors / self.words if self.words else None


def words_of(text: str) -> list[str]:
    """Without case, punctuation and apostrophes."""
    return _WORD.findall(text.lower().replace("'", "").replace("’", ""))


def count_errors(meant: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(meant, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            best = min(diagonal + (word != other), row[j] + 1, row[j - 1] + 1)
            diagonal, row[j] = row[j], best
    return row[-1]
