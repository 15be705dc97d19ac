"""Repeating and reading aloud: a sentence of the domain's words, to be copied.

Sentences are the grammar's, the product's own and random words. Those of the Talker's evaluation are never
drawn.
"""

from __future__ import annotations

import random

from antiphon_nano.domain import answers, corpus, grammar, words
from antiphon_nano.thinker.asking.numbers import Asked

REPEAT = (
    "repeat: {}", "repeat after me: {}", "please repeat: {}", "say: {}", "please say: {}", "repeat this: {}",
    "can you say this: {}", "please repeat after me: {}", "say this sentence: {}",
)  # fmt: skip
READ = (
    "read aloud: {}", "read this aloud: {}", "read this sentence aloud: {}", "please read aloud: {}",
    "please read this sentence aloud: {}", "read: {}", "please read this: {}", "can you read this aloud? {}",
    "can you read this sentence? {}", "read the sentence aloud: {}", "read this text aloud: {}",
)  # fmt: skip
_PIECES = ("{np}", "{vi} {prep}", "{name} {vt}", "{vt} {np}", "{name} {vi}", "{we} {do}", "is {adj} and")
_HELD_OUT = frozenset(corpus.held_out(2000))


def sentence(chance: random.Random) -> str:
    """A sentence to copy or transcribe, as it is written."""
    while True:
        text = _drawn(chance)
        if text not in _HELD_OUT:
            return text


def few_words(chance: random.Random) -> str:
    """One to three words in random order, as they are written."""
    return answers.written(grammar.word_sequence(chance, chance.randint(1, 3)) + ".")


def _drawn(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.12:
        return answers.written(_again(chance) + ".")
    if kind < 0.4:
        return corpus.free_sentence(chance)
    if kind < 0.7:
        return answers.written(grammar.word_sequence(chance, chance.randint(1, 14)) + ".")
    if kind < 0.82:
        return corpus.answer(chance)
    if kind < 0.92:
        return answers.written(grammar.expand(chance.choice(grammar.QUESTIONS), chance) + "?")
    first = chance.choice(words.WORDS)
    return answers.written(" ".join([first] * chance.randint(1, 2)) + ".")


def _again(chance: random.Random) -> str:
    """A few parts, repeated: copying by the last word alone does not end here."""
    pieces = [_piece(chance) for _ in range(chance.randint(3, 5))]
    said = [chance.choice(pieces)]
    for _ in range(chance.randint(3, 6)):
        said.append(chance.choice([piece for piece in pieces if piece != said[-1]]))
    return " ".join(said)


def _piece(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return grammar.expand(chance.choice(_PIECES), chance)
    return grammar.word_sequence(chance, chance.randint(1, 3))


def asked_copy(chance: random.Random, text: str | None = None) -> Asked:
    """A typed request. The text follows a colon, stands on its own line, or in quotation marks."""
    text = text or sentence(chance)
    form = answers.written(chance.choice(REPEAT if chance.random() < 0.5 else READ))
    given, layout = text, chance.random()
    if layout < 0.12:
        given = f'"{text}"'
    elif layout < 0.2:
        given = text.removesuffix(".")
    question = form.format(given)
    if 0.2 < layout < 0.35:
        question = question.replace(": ", ":\n", 1)
    return Asked(question, text, "copy")


def spoken_copy(chance: random.Random, text: str | None = None) -> Asked:
    """A spoken request. The colon is a pause."""
    text = text or sentence(chance)
    form = chance.choice(REPEAT[:5])
    return Asked(answers.written(form.format(text)), text, "copy")
