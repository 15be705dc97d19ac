"""How far a transcript is from what was meant: word error rate, with spellings that sound alike made one.

In: texts as written and as heard. Out: words to compare, and errors counted. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_nano.domain.words import number

_DIGITS = re.compile(r"\d+")
_ALIKE = {
    "colour": "color",
    "colours": "colors",
    "grey": "gray",
    "sarah": "sara",
    "ann": "anna",
    "okay": "ok",
    "theyre": "they are",
    "there's": "there is",
    "i'm": "i am",
    "it's": "it is",
    "cannot": "can not",
}
_SIGNS = {"+": " plus ", "=": " equals ", "×": " times ", "%": " percent "}


@dataclass(frozen=True, slots=True)
class Score:
    """Of many texts: `errors` in `words` of reference, and how many of the `texts` are `exact`."""

    errors: int
    words: int
    exact: int
    texts: int

    @property
    def word_error_rate(self) -> float:
        """In percent."""
        return 100 * self.errors / self.words


def words_of(text: str) -> list[str]:
    """Lower case, digits as words ("1716", as counting is heard, is seventeen sixteen), no punctuation."""
    text = text.lower()
    for sign, name in _SIGNS.items():
        text = text.replace(sign, name)
    text = _DIGITS.sub(lambda digits: f" {_spoken(digits[0])} ", text)
    heard = re.sub(r"[^a-z']", " ", text).split()
    return " ".join(_ALIKE.get(word, word) for word in heard).split()


def _spoken(digits: str) -> str:
    if len(digits) < 3 or digits == "100":
        return number(int(digits))
    pairs = [digits[max(0, end - 2) : end] for end in range(len(digits), 0, -2)]
    return " ".join(number(int(pair)) for pair in reversed(pairs))


def errors(meant: Sequence[str], heard: Sequence[str]) -> int:
    """Least substitutions, insertions and deletions from one to the other."""
    row = list(range(len(heard) + 1))
    for word in meant:
        before, row[0] = row[0], row[0] + 1
        for place, other in enumerate(heard, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


def score(meant: Sequence[str], heard: Sequence[str]) -> Score:
    """Of texts in pairs. ValueError where one has no partner."""
    pairs = [(words_of(a), words_of(b)) for a, b in zip(meant, heard, strict=True)]
    counts = [errors(a, b) for a, b in pairs]
    return Score(sum(counts), sum(len(a) for a, _ in pairs), counts.count(0), len(pairs))
