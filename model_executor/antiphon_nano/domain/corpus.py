"""The texts that the Talker is trained on, and the held-out texts of the evaluation.

`spoken_text` mixes answers, free sentences and random words. No held-out text is in the training texts, and
no unseen sentence shape in their grammar.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from antiphon_nano.domain import answers, grammar, slot_values

FAMILIES: tuple[tuple[float, tuple[str, ...]], ...] = (
    (3.0, answers.ARITHMETIC),
    (1.2, answers.COUNTING),
    (2.0, answers.ONE_THING),
    (2.0, answers.TWO_THINGS),
    (1.0, answers.THREE_THINGS),
    (1.0, answers.COLOUR_OF + answers.SHAPE_OF + answers.YES_NO),
    (1.5, answers.PLACE_OF + answers.BESIDE),
    (1.5, answers.HOW_MANY + answers.JUST_ONE + answers.NONE_THERE),
    (2.0, answers.MOTION),
    (1.2, answers.SOUND),
    (2.0, answers.HEARD),
    (1.0, answers.MIXED),
    (0.5, answers.SELF),
    (0.4, answers.ABLE),
    (0.6, answers.REFUSAL),
    (1.0, answers.REMEMBERED),
    (0.3, answers.READ_ALOUD),
    (0.5, answers.COURTESY),
)
_ANSWER, _QUESTION, _RANDOM = 0.38, 0.06, 0.16
_UNIT = re.compile(r"[A-Za-z]+|[.,?:!]")

EVALUATED_SEED = 7
"""Seed of the held-out texts. Training seeds begin at `TRAINED_SEED`."""
TRAINED_SEED = 1000


def units(text: str) -> list[str]:
    """Words and punctuation marks in order. Each is one token and one piece of sound."""
    return _UNIT.findall(text)


class Drawn(NamedTuple):
    """A text to speak, and whether it is a sentence (or words in random order)."""

    text: str
    is_sentence: bool


def spoken_text(rng: random.Random) -> Drawn:
    """One text: an answer of the product, a free sentence or question, or random words."""
    kind = rng.random()
    if kind < _ANSWER:
        return Drawn(answer(rng), True)
    if kind < _ANSWER + _RANDOM:
        return Drawn(answers.written(grammar.word_sequence(rng, rng.randint(2, 14)) + "."), False)
    if kind < _ANSWER + _RANDOM + _QUESTION:
        return Drawn(answers.written(grammar.expand(rng.choice(grammar.QUESTIONS), rng) + "?"), True)
    return Drawn(free_sentence(rng), True)


def free_sentence(rng: random.Random) -> str:
    """A sentence that a user may ask to have read aloud or repeated."""
    return answers.written(grammar.expand(rng.choice(grammar.SENTENCES), rng) + ".")


def answer(rng: random.Random) -> str:
    """One of the product's answers, with random slots."""
    (templates,) = rng.choices([t for _, t in FAMILIES], [w for w, _ in FAMILIES])
    quoted = grammar.expand(rng.choice(grammar.SENTENCES), rng) + "."
    return answers.say(rng.choice(templates), sentence=quoted, **slot_values.slots(rng))


def held_out(count: int, seed: int = EVALUATED_SEED) -> list[str]:
    """Distinct texts of known sentence shapes with at least four words, for the evaluation."""
    return list(_held_out(count, seed))


def word_sequences(count: int, seed: int = EVALUATED_SEED) -> frozenset[str]:
    """The texts of `held_out` that are words in random order."""
    return frozenset(text for text, is_sentence in _held_out(count, seed).items() if not is_sentence)


def _held_out(count: int, seed: int) -> dict[str, bool]:
    rng = random.Random(seed)
    found: dict[str, bool] = {}
    while len(found) < count:
        text, is_sentence = spoken_text(rng)
        if len(text.split()) >= 4 and text not in FIXED:
            found[text] = is_sentence
    return found


def unseen(count: int, seed: int = EVALUATED_SEED) -> list[str]:
    """Texts of sentence shapes that no training text has."""
    rng = random.Random(seed)
    return [
        answers.written(grammar.expand(grammar.UNSEEN[index % len(grammar.UNSEEN)], rng) + ".")
        for index in range(count)
    ]


def trained(seed: int, known: int = 2000) -> Iterator[str]:
    """Endless training texts. Longer texts come once, the first `known` held-out texts never."""
    rng = random.Random(TRAINED_SEED + seed)
    seen = set(held_out(known))
    for text, _ in iter(lambda: spoken_text(rng), None):
        again = text in seen and (len(text) > 14 or rng.random() < 0.9)
        if again and (text not in FIXED or rng.random() < 0.7):
            continue
        seen.add(text)
        yield text


FIXED: frozenset[str] = frozenset(
    answers.written(template) for _, templates in FAMILIES for template in templates if "{" not in template
)
"""Answers without slots: trained often, and never held out."""
