"""Sums, counting and sequences: typed or spoken questions, with answers.

A tenth of the sums is never asked aloud (`Sum.held_out`), a tenth of the typed wordings never used
(`held_back`), the same in every run. The exams use those. Typed sums themselves are all trained.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from antiphon_nano.domain import answers
from antiphon_nano.domain.words import number

_SIGN = {"plus": "+", "minus": "-", "times": "x"}
_ANY = (
    "what is {a} {op} {b}?", "what is {a} {op} {b}?", "how much is {a} {op} {b}?", "{a} {op} {b}.",
    "{a} {op} {b}?", "tell me, what is {a} {op} {b}?", "please tell me how much {a} {op} {b} is.",
    "can you tell me what {a} {op} {b} is?", "do you know what {a} {op} {b} is?",
    "hello, what is {a} {op} {b}?", "what does {a} {op} {b} make?",
)  # fmt: skip
_PLUS = (
    "add {a} and {b}.",
    "can you add {a} and {b}?",
    "please add {a} and {b}.",
    "what is the sum of {a} and {b}?",
)
_MINUS = ("take {b} from {a}.", "take {b} away from {a}.")
_COUNT = (
    "count from {a} to {b}.", "please count from {a} to {b}.", "can you count from {a} to {b}?",
    "count from {a} to {b}, please.",
)  # fmt: skip
_COUNT_UP = ("count to {b}.", "please count to {b}.", "can you count to {b}?")
_COUNT_DOWN = (
    "count down from {a} to {b}.",
    "please count down from {a} to {b}.",
    "count back from {a} to {b}.",
)
_AFTER = ("what comes after {a}?", "what number comes after {a}?", "which number is after {a}?")
_BEFORE = ("what comes before {a}?", "what number comes before {a}?", "which number is before {a}?")


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A question as it is written and spoken, and its answer."""

    question: str
    answer: str
    kind: str


@dataclass(frozen=True, slots=True)
class Sum:
    a: int
    operation: str
    b: int

    @property
    def result(self) -> int:
        return {"plus": self.a + self.b, "minus": self.a - self.b, "times": self.a * self.b}[self.operation]

    @property
    def held_out(self) -> bool:
        """Whether this sum is never asked aloud in training: a tenth of the ordered pairs; no products."""
        key = f"{self.a} {self.operation} {self.b}"
        return self.operation != "times" and zlib.crc32(key.encode()) % 10 == 0

    @property
    def answer(self) -> str:
        slots = {"a": number(self.a), "b": number(self.b), "operation": self.operation}
        return answers.say(answers.ARITHMETIC[0], **slots, result=number(self.result))


def every_sum() -> list[Sum]:
    """0 to 20 for plus and minus, 0 to 10 for times; no negative results."""
    plus = [Sum(a, "plus", b) for a in range(21) for b in range(21)]
    minus = [Sum(a, "minus", b) for a in range(21) for b in range(a + 1)]
    return plus + minus + [Sum(a, "times", b) for a in range(11) for b in range(11)]


_SUMS = {op: [s for s in every_sum() if s.operation == op] for op in ("plus", "minus", "times")}
_TRAINED = {op: [s for s in sums if not s.held_out] for op, sums in _SUMS.items()}


_WIDE = {
    "plus": [Sum(a, "plus", b) for a in range(61) for b in range(41) if a > 20 or b > 20],
    "minus": [Sum(a, "minus", b) for a in range(21, 101) for b in range(min(a, 60) + 1)],
    "times": _TRAINED["times"],
}
"""Larger sums than promised, so that small ones are not learned by heart alone."""


def ask_sum(rng: random.Random, which: Sum | None = None) -> QuestionAnswer:
    """`which`: the sum to ask for; None draws one that is not held out."""
    sum_ = which or rng.choice(_TRAINED[rng.choices(("plus", "minus", "times"), (5, 3, 2))[0]])
    more = {"plus": _PLUS, "minus": _MINUS, "times": ()}[sum_.operation]
    form = rng.choice(_ANY + more)
    question = form.format(a=number(sum_.a), b=number(sum_.b), op=sum_.operation)
    return QuestionAnswer(answers.written(question), sum_.answer, f"sum {sum_.operation}")


def held_back(question: str) -> bool:
    """Whether this question is never trained, in any spelling: a tenth of all questions for a sum."""
    return zlib.crc32(question.lower().rstrip(" .?!=").encode()) % 10 == 0


def typed_sum(rng: random.Random) -> QuestionAnswer:
    """Any sum, sometimes a larger one, in words or in digits and signs."""
    while True:
        operation = rng.choices(("plus", "minus", "times"), (5, 4, 1.5))[0]
        asked = _typed(rng, rng.choice((_WIDE if rng.random() < 0.25 else _SUMS)[operation]))
        if not held_back(asked.question):
            return asked


def judged_sum(rng: random.Random, *operations: str) -> QuestionAnswer:
    """As `typed_sum`, in a wording that is never trained."""
    while True:
        asked = _typed(rng, rng.choice(_SUMS[rng.choice(operations)]))
        if held_back(asked.question):
            return asked


def _typed(rng: random.Random, sum_: Sum) -> QuestionAnswer:
    if rng.random() < 0.55:
        return ask_sum(rng, sum_)
    sign = rng.choice((sum_.operation, _SIGN[sum_.operation], _SIGN[sum_.operation]))
    if sign in "x" and rng.random() < 0.5:
        sign = rng.choice("*×")
    term = f"{sum_.a} {sign} {sum_.b}" if rng.random() < 0.75 or len(sign) > 1 else f"{sum_.a}{sign}{sum_.b}"
    form = rng.choice(
        ("What is {}?", "{}", "{} =", "{}=", "{}?", "How much is {}?", "{} = ?", "Calculate {}.")
    )
    return QuestionAnswer(form.format(term), sum_.answer, f"sum {sum_.operation}")


def ask_count(rng: random.Random) -> QuestionAnswer:
    low = rng.randint(0, 14)
    high = min(20, low + rng.randint(2, 9))
    form, first, last = rng.choice(_COUNT), low, high
    kind = rng.random()
    if kind < 0.25:
        form, first, last = rng.choice(_COUNT_UP), 1, rng.randint(3, 12)
    elif kind < 0.5:
        form, first, last = rng.choice(_COUNT_DOWN), high, low
    step = 1 if last > first else -1
    series = ", ".join(number(value) for value in range(first, last + step, step))
    question = answers.written(form.format(a=number(first), b=number(last)))
    return QuestionAnswer(question, answers.say(answers.COUNTING[0], series=series), "count")


def ask_next(rng: random.Random) -> QuestionAnswer:
    if rng.random() < 0.5:
        a, form, step = rng.randint(0, 39), rng.choice(_AFTER), 1
    else:
        a, form, step = rng.randint(1, 40), rng.choice(_BEFORE), -1
    answer = answers.say(answers.ARITHMETIC[1], result=number(a + step))
    return QuestionAnswer(answers.written(form.format(a=number(a))), answer, "next")
