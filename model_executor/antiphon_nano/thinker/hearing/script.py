"""The script of the voices that antiphon-nano listens to: questions with answers, and plain sentences.

Separate lines for training and for evaluation. A question about a picture has no answer here: it depends on
the picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from antiphon_nano.domain import answers, corpus, words
from antiphon_nano.thinker.asking import copying, manners, numbers
from antiphon_nano.thinker.asking import picture_wording as wording
from antiphon_nano.thinker.asking.numbers import QuestionAnswer

UNHEARD = "espeak-en-us+m3"
"""The voice that is used in evaluation alone."""
NAMED = ("my name is {}.", "hello, my name is {}.", "i am {}.", "hello, i am {}.")
NAME_ASKED = ("what is my name?", "do you know my name?", "do you remember my name?", "tell me my name.")


@dataclass(frozen=True, slots=True)
class Line:
    """`kind`: "sentence" for plain sentences, "seen" for questions about pictures or clips."""

    text: str
    answer: str
    kind: str


def fixed() -> list[Line]:
    """All lines with few wordings: questions about pictures and clips, names."""
    named = [
        Line(answers.written(form.format(name)), answers.say(answers.REMEMBERED[1], name=name), "named")
        for name in words.NAMES[2:]
        for form in NAMED
    ]
    asked = [Line(answers.written(form), "", "name asked") for form in NAME_ASKED]
    return [*named, *asked, *(Line(answers.written(text), "", "seen") for text in dict.fromkeys(_seen()))]


def _seen() -> Iterator[str]:
    yield from wording.SEE + wording.HOW_MANY_SHAPES + wording.CLIP_SEE
    for shape, plural in zip(words.SHAPES, words.SHAPE_PLURALS, strict=True):
        for form in wording.HOW_MANY + wording.COLOUR + wording.CLIP_WHERE[:4]:
            yield form.format(shape=shape, plural=plural)
        for form in wording.ANY:
            yield form.format(thing=f"a {shape}")
        for colour in words.COLOURS:
            yield wording.WHERE[0].format(name=f"{colour} {shape}")
    for colour in words.COLOURS:
        yield from (form.format(colour=colour) for form in wording.SHAPE_OF)
    for place in answers.PLACES:
        yield from (form.format(place=place) for form in wording.AT)


def drawn(rng: random.Random, count: int) -> list[Line]:
    """Questions of all other kinds, in the proportions of the lessons."""
    kinds = (
        (9, numbers.ask_sum),
        (1.5, numbers.ask_count),
        (1.2, numbers.ask_next),
        (2.5, copying.spoken_copy),
        (1.2, lambda c: manners.ask_self(c, typed=False)),
        (1.2, lambda c: manners.ask_courtesy(c, typed=False)),
        (1.4, lambda c: manners.ask_outside(c, typed=False)),
    )
    makers = rng.choices([maker for _, maker in kinds], [weight for weight, _ in kinds], k=count)
    return [_line(maker(rng)) for maker in makers]


def sentences(rng: random.Random, count: int) -> list[Line]:
    return [Line(copying.sentence(rng), "", "sentence") for _ in range(count)]


def judged(rng: random.Random, count: int) -> list[Line]:
    """Lines for evaluation: held-out sums, new questions of other kinds, held-out sentences."""
    held = [sum_ for sum_ in numbers.every_sum() if sum_.held_out]
    sums = [numbers.ask_sum(rng, rng.choice(held)) for _ in range(count // 2)]
    others = [numbers.ask_count, lambda c: manners.ask_self(c, typed=False), numbers.ask_next]
    more = [rng.choice(others)(rng) for _ in range(count - len(sums))]
    heard = [Line(text, "", "sentence") for text in rng.sample(corpus.held_out(400), count)]
    return [*(_line(asked) for asked in (*sums, *more)), *heard]


def _line(asked: QuestionAnswer) -> Line:
    return Line(asked.question, asked.answer, asked.kind)


def remembered(name: str) -> str:
    return answers.say(answers.REMEMBERED[0], name=name)
