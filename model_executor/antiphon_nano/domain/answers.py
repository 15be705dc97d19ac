"""Templates of every sentence that antiphon-nano answers with, with named slots.

The Thinker answers with the first template of a tuple. The Talker is also trained on the others.
"""

from __future__ import annotations

import re

ARITHMETIC = (
    "{a} {operation} {b} is {result}.",
    "the answer is {result}.",
    "it is {result}.",
    "{a} {operation} {b} equals {result}.",
    "that makes {result}.",
    "the sum of {a} and {b} is {result}.",
    "i think the answer is {result}.",
)
COUNTING = (
    "{series}.",
    "here are the numbers: {series}.",
    "i count: {series}.",
)
ONE_THING = (
    "i see {thing}.",
    "i see {thing} {place}.",
    "there is {thing} {place}.",
    "the picture shows {thing}.",
    "it is {thing}.",
    "there is {thing} in the picture.",
)
TWO_THINGS = (
    "i see {thing} and {other}.",
    "i see {thing} {place} and {other} {other_place}.",
    "there is {thing} {place} and {other} {other_place}.",
    "the picture shows {thing} and {other}.",
)
THREE_THINGS = (
    "i see {thing}, {other}, and {third}.",
    "there are three shapes: {thing}, {other}, and {third}.",
)
COLOUR_OF = ("the {shape} is {colour}.", "it is {colour}.", "the color of the {shape} is {colour}.")
SHAPE_OF = ("the {colour} shape is {shape}.", "it is {shape}.")
PLACE_OF = ("the {colour} {shape} is {place}.", "the {shape} is {place}.", "it is {place}.")
BESIDE = (
    "the {colour} {shape} is {relation} the {other_colour} {other_shape}.",
    "the {shape} is {relation} the {other_shape}.",
)
HOW_MANY = (
    "there are {count} {plural}.",
    "there are {count} {colour} {plural}.",
    "i see {count} {colour} {plural}.",
    "i count {count} shapes in the picture.",
    "there are {count} {plural} in the picture.",
)
JUST_ONE = ("there is one {shape}.", "there is only one {colour} {shape}.")
NONE_THERE = ("there is no {shape} in the picture.", "there is no {colour} {shape}.", "i do not see {thing}.")
YES_NO = (
    "yes, the {shape} is {colour}.",
    "no, the {shape} is {colour}.",
    "yes, there is {thing}.",
    "no, there is no {shape}.",
)
MOTION = (
    "the {colour} {shape} is moving {direction}.",
    "the {shape} is moving {direction}.",
    "it is moving {direction}.",
    "the {colour} {shape} moves from {side} to {other_side}.",
    "the {colour} {shape} is {change}.",
    "the {colour} {shape} is not moving.",
    "nothing is moving.",
    "in the video, the {colour} {shape} is moving {direction}.",
    "first the {shape} is moving {direction}, and then it is moving {other_direction}.",
)
SOUND = (
    "i hear a {pitch} tone.",
    "i hear {count} beeps.",
    "i hear a {pitch} tone and then a {other_pitch} tone.",
    "i hear noise.",
    "i hear nothing, only silence.",
    "i hear a tone that {glide}.",
    "i hear a voice. it says: {sentence}",
)
HEARD = ("you said: {sentence}", "i heard: {sentence}", "you asked me: {sentence}")
READ_ALOUD = ("{sentence}",)
MIXED = (
    "i see {thing}, and you said: {sentence}",
    "i see {thing}, and i hear a {pitch} tone.",
    "the {colour} {shape} is moving {direction}, and i hear a {pitch} tone.",
)
SELF = (
    "i am Nano, a tiny demonstration model. i can hear, see, read, and speak.",
    "my name is Nano.",
    "hello, i am Nano. i am a tiny model, and i can listen and speak.",
    "i am Nano, a small voice of Antiphon.",
    "i am a tiny demonstration model. i understand only a few hundred words.",
)
ABLE = (
    "i can add numbers, describe pictures and videos, repeat what you say, and read sentences aloud.",
    "i can count, add numbers, and read aloud.",
    "i can describe what i see and repeat what i hear.",
)
REFUSAL = (
    "i am sorry, i am a tiny demonstration model. i can add numbers, describe pictures and videos,"
    " repeat what you say, and read sentences aloud.",
    "sorry, i do not know that. i am only a tiny demonstration model.",
    "i do not understand. please ask me something else, or say it again.",
)
REMEMBERED = (
    "your name is {name}.",
    "nice to meet you, {name}.",
    "hello {name}, how can i help you?",
    "you told me that your name is {name}.",
    "the number was {number}.",
    "you asked about the {colour} {shape}.",
)
COURTESY = (
    "hello, how can i help you?",
    "hello!",
    "good morning!",
    "good evening, how are you today?",
    "good night, and sleep well.",
    "i am fine, thank you.",
    "thank you very much!",
    "you are welcome.",
    "yes.",
    "no.",
    "yes, of course.",
    "no, i do not think so.",
    "that is right.",
    "that is not right.",
    "goodbye, see you tomorrow!",
    "please say that again.",
    "one moment, please.",
    "i can hear you.",
    "i can see the picture.",
    "i do not hear anything.",
    "the picture is empty.",
    "what is your name?",
    "what can i do for you?",
)

PLACES = (
    "on the left", "on the right", "at the top", "at the bottom", "in the middle", "in the top left corner",
    "in the top right corner", "in the bottom left corner", "in the bottom right corner",
)  # fmt: skip
RELATIONS = ("above", "below", "left of", "right of", "next to")
SIDES = (("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"))
CHANGES = ("growing", "turning", "shrinking")
PITCHES = ("high", "low")
GLIDES = ("rises", "falls")
OPERATIONS = ("plus", "minus", "times")

_ALWAYS_CAPITAL = re.compile(r"\bi\b")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")
_OPENING = re.compile(r"(^|[.!?] )([a-z])")


def written(text: str) -> str:
    """Adds capitals and corrects articles: "i see a orange dot." becomes "I see an orange dot." """
    text = _ARTICLE.sub(r"\1n ", _ALWAYS_CAPITAL.sub("I", text))
    return _OPENING.sub(lambda opening: opening[1] + opening[2].upper(), text)


def say(template: str, **slots: str) -> str:
    """A template with its slots filled, as it is written. Raises KeyError if a slot is missing."""
    return written(template.format(**slots))
