"""Repeating and reading aloud: a sentence of the domain's words, to be copied.

Sentences are the grammar's, the product's own and random words. Those of the Talker's evaluation are never
drawn.
"""

from __future__ import annotations

import random

from antiphon_nano.domain import answers, corpus, grammar, words
from antiphon_nano.thinker.asking.numbers import QuestionAnswer

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


def sentence(rng: random.Random) -> str:
    """A sentence to copy or transcribe, as it is written."""
    while True:
        text = _drawn(rng)
        if text not in _HELD_OUT:
            return text


def few_words(rng: random.Random) -> str:
    """One to three words in random order, as they are written."""
    return answers.written(grammar.word_sequence(rng, rng.randint(1, 3)) + ".")


def _drawn(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.12:
        return answers.written(_repeated_parts(rng) + ".")
    if kind < 0.4:
        return corpus.free_sentence(rng)
    if kind < 0.7:
        return answers.written(grammar.word_sequence(rng, rng.randint(1, 14)) + ".")
    if kind < 0.82:
        return corpus.answer(rng)
    if kind < 0.92:
        return answers.written(grammar.expand(rng.choice(grammar.QUESTIONS), rng) + "?")
    first = rng.choice(words.WORDS)
    return answers.written(" ".join([first] * rng.randint(1, 2)) + ".")


def _repeated_parts(rng: random.Random) -> str:
    """A few parts, repeated: copying by the last word alone does not end here."""
    pieces = [_piece(rng) for _ in range(rng.randint(3, 5))]
    said = [rng.choice(pieces)]
    for _ in range(rng.randint(3, 6)):
        said.append(rng.choice([piece for piece in pieces if piece != said[-1]]))
    return " ".join(said)


def _piece(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return grammar.expand(rng.choice(_PIECES), rng)
    return grammar.word_sequence(rng, rng.randint(1, 3))


def ask_copy(rng: random.Random, text: str | None = None) -> QuestionAnswer:
    """A typed request. The text follows a colon, stands on its own line, or in quotation marks."""
    text = text or sentence(rng)
    form = answers.written(rng.choice(REPEAT if rng.random() < 0.5 else READ))
    given, layout = text, rng.random()
    if layout < 0.12:
        given = f'"{text}"'
    elif layout < 0.2:
        given = text.removesuffix(".")
    question = form.format(given)
    if 0.2 < layout < 0.35:
        question = question.replace(": ", ":\n", 1)
    return QuestionAnswer(question, text, "copy")


def spoken_copy(rng: random.Random, text: str | None = None) -> QuestionAnswer:
    """A spoken request. The colon is a pause."""
    text = text or sentence(rng)
    form = rng.choice(REPEAT[:5])
    return QuestionAnswer(answers.written(form.format(text)), text, "copy")
