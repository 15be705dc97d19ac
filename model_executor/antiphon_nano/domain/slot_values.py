"""Random values for the slots of the answer templates: sums, things, motions, sounds.

These are for speech training alone. If an answer must be true of a picture or a sum, its generator fills the
slots.
"""

from __future__ import annotations

import random

from antiphon_nano.domain import answers, words


def slots(rng: random.Random) -> dict[str, str]:
    """A new random value for every slot of every template."""
    side, other_side = rng.choice(answers.SIDES)
    direction, other_direction = rng.sample(words.DIRECTIONS, 2)
    pitch, other_pitch = rng.sample(answers.PITCHES, 2)
    return {
        **_sum(rng),
        **_shapes(rng),
        "series": _series(rng),
        "side": side,
        "other_side": other_side,
        "direction": direction,
        "other_direction": other_direction,
        "change": rng.choice(answers.CHANGES),
        "pitch": pitch,
        "other_pitch": other_pitch,
        "glide": rng.choice(answers.GLIDES),
        "name": rng.choice(words.NAMES[2:]),
        "number": words.number(rng.randint(0, 100)),
    }


def thing(rng: random.Random) -> str:
    """A coloured shape with its article: "a small red circle"."""
    size = rng.choice(words.SIZES) + " " if rng.random() < 0.35 else ""
    return f"a {size}{rng.choice(words.COLOURS)} {rng.choice(words.SHAPES)}"


def _sum(rng: random.Random) -> dict[str, str]:
    operation = rng.choice(answers.OPERATIONS)
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if operation == "times":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
    if operation == "minus":
        a, b = max(a, b), min(a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b}[operation]
    return {
        "a": words.number(a),
        "b": words.number(b),
        "operation": operation,
        "result": words.number(result),
    }


def _shapes(rng: random.Random) -> dict[str, str]:
    shape, other_shape = rng.sample(words.SHAPES, 2)
    colour, other_colour = rng.sample(words.COLOURS, 2)
    place, other_place = rng.sample(answers.PLACES, 2)
    return {
        "thing": thing(rng),
        "other": thing(rng),
        "third": thing(rng),
        "shape": shape,
        "other_shape": other_shape,
        "colour": colour,
        "other_colour": other_colour,
        "place": place,
        "other_place": other_place,
        "relation": rng.choice(answers.RELATIONS),
        "count": words.number(rng.randint(2, 12)),
        "plural": rng.choice(words.SHAPE_PLURALS),
    }


def _series(rng: random.Random) -> str:
    start, length = rng.randint(0, 15), rng.randint(3, 10)
    numbers = [words.number(start + step) for step in range(length)]
    return ", ".join(numbers[::-1] if rng.random() < 0.3 else numbers)
