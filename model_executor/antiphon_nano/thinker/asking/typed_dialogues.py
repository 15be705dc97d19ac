"""Typed dialogues of one to three turns, with questions about text and about earlier turns."""

from __future__ import annotations

import random
from collections.abc import Callable

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import copying, manners, numbers
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Dialogue, Turn

KINDS: tuple[tuple[float, Callable[[random.Random], QuestionAnswer]], ...] = (
    (4.5, numbers.typed_sum),
    (1.0, numbers.ask_count),
    (0.8, numbers.ask_next),
    (6.0, copying.ask_copy),
    (0.6, lambda rng: manners.ask_self(rng, typed=True)),
    (0.5, lambda rng: manners.ask_courtesy(rng, typed=True)),
    (1.6, lambda rng: manners.ask_outside(rng, typed=True)),
    (0.3, manners.ask_of_nothing),
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


def system(rng: random.Random) -> str:
    """System instructions, mostly none, as a client may send them."""
    return rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""


def typed(asked: QuestionAnswer, rng: random.Random) -> str:
    """A question as people type it: sometimes in lower case, or without its last punctuation mark."""
    text = asked.question
    careless = rng.random()
    if asked.kind == "copy" or careless > 0.3:
        return text
    return text.lower() if careless < 0.12 else text.rstrip(".?!") or text


def asked(rng: random.Random) -> QuestionAnswer:
    """One question of any kind."""
    (kind,) = rng.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])
    return kind(rng)


def talk(rng: random.Random) -> Dialogue:
    """Mostly one question; else two or three, or something to remember or to repeat."""
    shape = rng.random()
    if shape < 0.08:
        return remembering(rng)
    if shape < 0.28:
        return repeating(rng)
    count = 1 if shape < 0.82 else rng.randint(2, 3)
    turns = []
    for _ in range(count):
        question = asked(rng)
        turns.append(Turn((typed(question, rng),), question.answer))
    return Dialogue(tuple(turns), question.kind if count == 1 else "turns", system(rng))


def repeating(rng: random.Random) -> Dialogue:
    """Several requests for a few words each, so that every word is the first of a text sometimes: there it is
    a different token than inside.
    """
    texts = [copying.few_words(rng) for _ in range(rng.randint(2, 4))]
    copies = [copying.ask_copy(rng, text) for text in texts]
    return Dialogue(tuple(Turn((copy.question,), copy.answer) for copy in copies), "copy", system(rng))


def remembering(rng: random.Random) -> Dialogue:
    """The user gives a name or a number and asks for it later, perhaps with another question between."""
    if rng.random() < 0.6:
        fact = rng.choice(words.NAMES[2:])
        told = Turn((_said(rng, _NAMED, fact),), answers.say(answers.REMEMBERED[1], name=fact))
        wanted = Turn((_said(rng, _NAME_ASKED),), answers.say(answers.REMEMBERED[0], name=fact))
    else:
        fact = words.number(rng.randint(0, 100))
        told = Turn((_said(rng, _NUMBER_TOLD, fact),), "Yes, of course.")
        wanted = Turn((_said(rng, _NUMBER_ASKED),), answers.say(answers.REMEMBERED[4], number=fact))
    between: list[Turn] = []
    if rng.random() < 0.4:
        question = asked(rng)
        between = [Turn((typed(question, rng),), question.answer)]
    return Dialogue((told, *between, wanted), "memory", system(rng))


def _said(rng: random.Random, forms: tuple[str, ...], fact: str = "") -> str:
    text = answers.written(rng.choice(forms).format(fact))
    return text.lower() if rng.random() < 0.1 else text
