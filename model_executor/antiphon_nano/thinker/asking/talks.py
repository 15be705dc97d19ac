"""Typed dialogues of one to three turns, with questions about text and about earlier turns."""

from __future__ import annotations

import random
from collections.abc import Callable

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import copying, manners, numbers
from antiphon_nano.thinker.asking.numbers import Asked
from antiphon_nano.thinker.dialogue import Dialogue, Turn

KINDS: tuple[tuple[float, Callable[[random.Random], Asked]], ...] = (
    (4.5, numbers.typed_sum),
    (1.0, numbers.asked_count),
    (0.8, numbers.asked_next),
    (6.0, copying.asked_copy),
    (0.6, lambda chance: manners.asked_self(chance, typed=True)),
    (0.5, lambda chance: manners.asked_courtesy(chance, typed=True)),
    (1.6, lambda chance: manners.asked_outside(chance, typed=True)),
    (0.3, manners.asked_of_nothing),
)
_SYSTEMS = (
    "You are a helpful assistant.", "You are Nano.", "Answer in one sentence.", "Be brief.",
    "You are a voice assistant.", "You are a helpful and friendly assistant. Speak English.",
    "Talk like a friend.", "Please be kind and clear.",
)  # fmt: skip
_NAMED = (
    "my name is {}.",
    "hello, my name is {}.",
    "i am {}.",
    "hello, i am {}.",
    "my name is {}, nice to meet you.",
)
_NAME_ASKED = (
    "what is my name?",
    "who am i?",
    "do you know my name?",
    "do you remember my name?",
    "tell me my name.",
)
_NUMBER_TOLD = (
    "remember the number {}.",
    "please remember the number {}.",
    "the number is {}. remember it, please.",
)
_NUMBER_ASKED = (
    "what was the number?",
    "which number was it?",
    "tell me the number.",
    "do you remember the number?",
)


def system(chance: random.Random) -> str:
    """System instructions, mostly none, as a client may send them."""
    return chance.choice(_SYSTEMS) if chance.random() < 0.08 else ""


def typed(asked: Asked, chance: random.Random) -> str:
    """A question as people type it: sometimes in lower case, or without its last punctuation mark."""
    text = asked.question
    careless = chance.random()
    if asked.kind == "copy" or careless > 0.3:
        return text
    return text.lower() if careless < 0.12 else text.rstrip(".?!") or text


def asked(chance: random.Random) -> Asked:
    """One question of any kind."""
    (kind,) = chance.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])
    return kind(chance)


def talk(chance: random.Random) -> Dialogue:
    """Mostly one question; else two or three, or something to remember or to repeat."""
    shape = chance.random()
    if shape < 0.08:
        return remembering(chance)
    if shape < 0.28:
        return repeating(chance)
    count = 1 if shape < 0.82 else chance.randint(2, 3)
    turns = []
    for _ in range(count):
        question = asked(chance)
        turns.append(Turn((typed(question, chance),), question.answer))
    return Dialogue(tuple(turns), question.kind if count == 1 else "turns", system(chance))


def repeating(chance: random.Random) -> Dialogue:
    """Several requests for a few words each, so that every word is the first of a text sometimes: there it is
    a different token than inside.
    """
    texts = [copying.few_words(chance) for _ in range(chance.randint(2, 4))]
    copies = [copying.asked_copy(chance, text) for text in texts]
    return Dialogue(tuple(Turn((copy.question,), copy.answer) for copy in copies), "copy", system(chance))


def remembering(chance: random.Random) -> Dialogue:
    """The user gives a name or a number and asks for it later, perhaps with another question between."""
    if chance.random() < 0.6:
        fact = chance.choice(words.NAMES[2:])
        told = Turn((_said(chance, _NAMED, fact),), answers.say(answers.REMEMBERED[1], name=fact))
        wanted = Turn((_said(chance, _NAME_ASKED),), answers.say(answers.REMEMBERED[0], name=fact))
    else:
        fact = words.number(chance.randint(0, 100))
        told = Turn((_said(chance, _NUMBER_TOLD, fact),), "Yes, of course.")
        wanted = Turn((_said(chance, _NUMBER_ASKED),), answers.say(answers.REMEMBERED[4], number=fact))
    between: list[Turn] = []
    if chance.random() < 0.4:
        question = asked(chance)
        between = [Turn((typed(question, chance),), question.answer)]
    return Dialogue((told, *between, wanted), "memory", system(chance))


def _said(chance: random.Random, forms: tuple[str, ...], fact: str = "") -> str:
    text = answers.written(chance.choice(forms).format(fact))
    return text.lower() if chance.random() < 0.1 else text
