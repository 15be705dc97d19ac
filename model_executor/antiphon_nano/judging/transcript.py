"""Word error rate of transcripts, with spellings of the same sound counted as equal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_nano.domain.words import number

_DIGITS = re.compile(r"\d+")
_SAME = {
    "colour": "color",
    "colours": "colors",
    "grey": "gray",
    "sarah": "sara",
    "antifon": "antiphon",
    "theres": "there is",
    "im": "i am",
    "its": "it is",
    "cannot": "can not",
}
# These sound the same, and words in random order give no context to tell them apart.
_HOMOPHONES = """\
two to too|four for|one won|eight ate|see sea c|there their theyre|son sun|right write|buy by bye|wood would
hear here|no know|week weak|poor pour|tea t|you u|i eye|our hour|blue blew|night knight|meet meat|be bee b
bread bred|flower flour|where wear|which witch|wait weight|some sum|horse hoarse|are r|dear deer|not knot
road rode|tail tale|made maid|new knew|nose knows|wind wined"""
_ALIKE = _SAME | {
    word: group.split()[0]
    for group in _HOMOPHONES.replace("\n", "|").split("|")
    for word in group.split()[1:]
}
_SIGNS = {"+": " plus ", "=": " equals ", "×": " times ", "%": " percent "}


@dataclass(frozen=True, slots=True)
class Score:
    """Totals of many texts: `errors` in `words` of the references; `exact` of `texts`."""

    errors: int
    words: int
    exact: int
    texts: int

    @property
    def word_error_rate(self) -> float:
        """In percent."""
        return 100 * self.errors / self.words


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation; digits become words. "1716", a transcript of counting, is
    seventeen sixteen.
    """
    text = text.lower()
    for sign, name in _SIGNS.items():
        text = text.replace(sign, name)
    text = _DIGITS.sub(lambda digits: f" {_spoken(digits[0])} ", text)
    heard = re.sub(r"[^a-z]", " ", text.replace("'", "")).split()
    return " ".join(_ALIKE.get(word, word) for word in heard).split()


def _spoken(digits: str) -> str:
    if len(digits) < 3 or digits == "100":
        return number(int(digits))
    for length in (1, 2):
        counted = _counted(digits, length)
        if counted:
            return " ".join(map(number, counted))
    pairs = [digits[max(0, end - 2) : end] for end in range(len(digits), 0, -2)]
    return " ".join(number(int(pair)) for pair in reversed(pairs))


def _counted(digits: str, length: int) -> list[int]:
    """Splits digits into numbers that count up or down by one, the first of `length` digits; empty if they do
    not.
    """
    for step in (1, -1):
        value, rest = int(digits[:length]), digits[length:]
        found = [value]
        while rest and value + step >= 0 and rest.startswith(str(value + step)):
            value += step
            found.append(value)
            rest = rest[len(str(value)) :]
        if not rest and max(found) <= 100:
            return found
    return []


def errors(meant: Sequence[str], heard: Sequence[str]) -> int:
    """The minimum number of substitutions, insertions and deletions."""
    row = list(range(len(heard) + 1))
    for word in meant:
        before, row[0] = row[0], row[0] + 1
        for place, other in enumerate(heard, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


def score(meant: Sequence[str], heard: Sequence[str]) -> Score:
    """Raises ValueError if the sequences differ in length."""
    pairs = [(words_of(a), words_of(b)) for a, b in zip(meant, heard, strict=True)]
    counts = [errors(a, b) for a, b in pairs]
    return Score(sum(counts), sum(len(a) for a, _ in pairs), counts.count(0), len(pairs))
