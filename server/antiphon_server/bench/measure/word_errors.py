"""Word error rate of a transcript against the text that was to be spoken.

Words are compared without case and punctuation; jiwer counts the substitutions, deletions and insertions.
"""

from __future__ import annotations

import re

import jiwer
import msgspec

# Chinese, Japanese and Korean are counted by character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class WordErrors(msgspec.Struct, frozen=True):
    """Errors in `answers` transcripts of `words` words in total. `failed`: answers without a transcript."""

    answers: int
    words: int
    errors: int
    failed: int = 0

    @property
    def rate(self) -> float | None:
        return self.errors / self.words if self.words else None


def normalized_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and apostrophes."""
    return _WORD.findall(text.lower().replace("'", "").replace("’", ""))


def count_word_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance in words. Both lists come from `normalized_words`."""
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return int(found.substitutions + found.deletions + found.insertions)
