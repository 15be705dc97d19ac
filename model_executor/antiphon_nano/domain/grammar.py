"""A context-free grammar of English sentences over the domain's words.

Sentences are lower case and have no full stop. Training draws from `SENTENCES`; `UNSEEN` measures
generalisation and is never trained on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from antiphon_nano.domain import words

_SYMBOL = re.compile(r"\{(\w+)\}")

PARTS: Mapping[str, tuple[str, ...]] = {
    "noun": words.NOUNS,
    "adj": words.ADJECTIVES,
    "colour": words.COLOURS,
    "shape": words.SHAPES,
    "size": words.SIZES,
    "vt": words.TRANSITIVE,
    "vi": words.INTRANSITIVE,
    "inf": words.INFINITIVES,
    "adv": words.ADVERBS,
    "prep": words.PREPOSITIONS,
    "name": words.NAMES,
    "unit": words.UNITS,
    "day": words.DAYS,
    "poss": ("my", "your", "his", "her", "our", "their"),
    "we": ("i", "you", "we", "they"),
    "he": ("he", "she", "it", "this", "that"),
    "him": ("me", "you", "him", "her", "them", "us", "it"),
    "modal": ("can", "could", "will", "would", "should", "may", "must", "do not"),
    "often": ("often", "never", "always", "also", "still", "only", "quickly", "quietly"),
    "how": ("quickly", "slowly", "quietly", "again", "together", "outside", "inside", "today", "tomorrow"),
    "past": ("saw", "heard", "took", "made", "had"),
    "do": ("see", "hear", "find", "take", "bring", "open", "close", "make", "want", "need", "keep", "watch",
           "help", "carry", "move", "build", "clean", "draw", "read", "sell", "buy", "wash", "remember"),
    "np": (
        "the {noun}", "the {noun}", "a {noun}", "the {adj} {noun}", "a {adj} {noun}", "{poss} {noun}",
        "{poss} {adj} {noun}", "the {colour} {noun}", "a {size} {colour} {noun}", "this {noun}",
        "every {noun}",
        "the {noun} of {poss} {noun}", "another {noun}", "that {adj} {noun}",
    ),
    "who": ("{np}", "{np}", "{name}", "{he}", "{name} and {name}", "the friend of {name}",
    "the {adj} {noun}"),
    "where": ("{prep} {np}", "{prep} {np}", "here", "there", "outside", "inside"),
    "clause": (
        "{who} {vt} {np}", "{who} {vi} {where}", "{who} is {adj}", "{who} {vi} {how}", "{we} {do} {np}",
        "{we} {modal} {do} {np}", "{who} {vt} {np} {where}", "{who} {often} {vt} {np}", "{we} {past} {np}",
        "{np} was {adj}", "there is {np} {where}",
    ),
}  # fmt: skip

SENTENCES: tuple[str, ...] = (
    "{clause}", "{clause}", "{clause}", "{clause} {day}",
    "{np} {vt} {np}", "{np} {vi} {adv}", "{np} is {adj}", "{np} {vi} {prep} {np}", "{name} {vi} {prep} {np}",
    "{name} {vt} {np} {how}", "{np} is {adj} and {adj}", "{np} is {prep} {np}", "{np} and {np} are {adj}",
    "{we} {do} {np} {where}", "{we} {modal} {do} {np} {how}", "{we} {do} {np} and {np}", "{we} {do} {him}",
    "{we} {do} {np}, {np}, and {np}", "{name} {vi} {prep} {np} and {vt} {np}",
    "{clause}, and {clause}", "{clause}, but {clause}", "{clause}, or {clause}", "{clause}, so {clause}",
    "{clause} because {clause}", "{clause} when {clause}", "{clause} while {clause}", "{clause} if {clause}",
    "when {clause}, {clause}", "if {clause}, {clause}", "because {clause}, {clause}",
    "while {clause}, {clause}",
    "{clause}, and {clause}, but {clause}", "when {clause}, {clause}, and {clause}",
    "if {clause}, then {clause}, because {clause}", "{clause}. {clause}", "{clause}. then {clause}",
    "{clause}. {clause}. {clause}", "first {clause}, then {clause}, and last {clause}",
    "{name} said that {clause}", "{name} told {him} that {clause}", "{we} think that {clause}",
    "{we} know that {clause}, but {clause}", "{np} that {vt} {np} is {adj}",
    "{np} that {vi} {where} {vt} {np}",
    "{prep} {np}, {clause}", "{prep} {np} {prep} {np}, {clause}", "{day}, {clause}", "{how}, {clause}",
    "{np} {prep} {np} {vt} {np} {prep} {np}", "{np}, {np}, {np}, and {np} are {where}",
    "please {inf} {np}", "please {do} {np} and {do} {np}", "{do} {np} {where}", "please do not {do} {np}",
    "let us see: {clause}", "{unit} {adj} words", "{unit} {noun} and {unit} {noun}",
    "number {unit}: {clause}",
    "{np} has {unit} letters", "{np} is as {adj} as {np}", "{np} is not {adj}, it is {adj}",
    "{np} was {adj} {day}, and {np} will be {adj} {day}", "{we} did not {do} {np}",
    "yes, {clause}", "no, {clause}", "maybe {clause}", "of course {clause}", "sorry, {clause}",
    "{name}, {clause}",
    "hello {name}, {clause}", "{colour}, {colour}, and {colour}", "{colour} and {colour}", "{adj} {noun}",
    "{noun}",
    "{noun} and {noun}", "{adj}, {adj}, and {adj}", "{name}, {name}, and {name}", "{we} {inf} and {inf}",
)  # fmt: skip
QUESTIONS: tuple[str, ...] = (
    "where is {np}", "what is {np}", "who {vt} {np}", "is {np} {adj}", "is {np} {adj} or {adj}",
    "do you {do} {np}",
    "can you {do} {np} {where}", "what do you {do} {where}", "how many words are {where}",
    "why is {np} {adj}",
    "when {modal} {we} {do} {np}", "will {name} {do} {np}", "what color is {np}", "which {noun} is {adj}",
    "who is {where}", "{clause}, is that right", "how {adj} is {np}",
)  # fmt: skip
UNSEEN: tuple[str, ...] = (
    "{where} {vi} {np}, and {where} {vi} {np}",
    "is it {np} or {np} that {vt} {np}",
    "{np} which {name} {vt} {vi} {how}",
    "the more {np} {vi}, the more {np} {vt} {np}",
    "not {np} but {np} {vt} {np}",
    "{name} asked me who {vt} {np} {prep} {np}",
    "both {np} and {np} {vi} as {name} {vi}",
    "there was {adj} {noun} between {np} and {np} {day}",
    "{adj} was {np}, {adj} was {np}, and {adj} were we all",
    "before {np} {vi}, {we} must {do} what {name} said",
)  # fmt: skip


def expand(text: str, rng: random.Random) -> str:
    """Replaces every symbol in `text` by a random expansion, recursively."""
    while _SYMBOL.search(text):
        text = _SYMBOL.sub(lambda symbol: rng.choice(PARTS[symbol[1]]), text)
    return text


def word_sequence(rng: random.Random, length: int) -> str:
    """`length` random words, which no grammar produces but a user may ask to have read aloud."""
    drawn = [rng.choice(words.WORDS) for _ in range(length)]
    return " ".join(word if rng.random() > 0.08 else f"{word}," for word in drawn).rstrip(",")
