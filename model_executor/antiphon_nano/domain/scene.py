"""Random values for the slots of the answer templates: sums, things, motions, sounds.

These are for speech training alone. If an answer must be true of a picture or a sum, its generator fills the
slots.
"""

from __future__ import annotations

import random

from antiphon_nano.domain import answers, words


def slots(chance: random.Random) -> dict[str, str]:
    """A new random value for every slot of every template."""
    side, other_side = chance.choice(answers.SIDES)
    direction, other_direction = chance.sample(words.DIRECTIONS, 2)
    pitch, other_pitch = chance.sample(answers.PITCHES, 2)
    return {
        **_sum(chance),
        **_shapes(chance),
        "series": _series(chance),
        "side": side,
        "other_side": other_side,
        "direction": direction,
        "other_direction": other_direction,
        "change": chance.choice(answers.CHANGES),
        "pitch": pitch,
        "other_pitch": other_pitch,
        "glide": chance.choice(answers.GLIDES),
        "name": chance.choice(words.NAMES[2:]),
        "number": words.number(chance.randint(0, 100)),
    }


def thing(chance: random.Random) -> str:
    """A coloured shape with its article: "a small red circle"."""
    size = chance.choice(words.SIZES) + " " if chance.random() < 0.35 else ""
    return f"a {size}{chance.choice(words.COLOURS)} {chance.choice(words.SHAPES)}"


def _sum(chance: random.Random) -> dict[str, str]:
    operation = chance.choice(answers.OPERATIONS)
    a, b = chance.randint(0, 20), chance.randint(0, 20)
    if operation == "times":
        a, b = chance.randint(0, 10), chance.randint(0, 10)
    if operation == "minus":
        a, b = max(a, b), min(a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b}[operation]
    return {
        "a": words.number(a),
        "b": words.number(b),
        "operation": operation,
        "result": words.number(result),
    }


def _shapes(chance: random.Random) -> dict[str, str]:
    shape, other_shape = chance.sample(words.SHAPES, 2)
    colour, other_colour = chance.sample(words.COLOURS, 2)
    place, other_place = chance.sample(answers.PLACES, 2)
    return {
        "thing": thing(chance),
        "other": thing(chance),
        "third": thing(chance),
        "shape": shape,
        "other_shape": other_shape,
        "colour": colour,
        "other_colour": other_colour,
        "place": place,
        "other_place": other_place,
        "relation": chance.choice(answers.RELATIONS),
        "count": words.number(chance.randint(2, 12)),
        "plural": chance.choice(words.SHAPE_PLURALS),
    }


def _series(chance: random.Random) -> str:
    start, length = chance.randint(0, 15), chance.randint(3, 10)
    numbers = [words.number(start + step) for step in range(length)]
    return ", ".join(numbers[::-1] if chance.random() < 0.3 else numbers)
