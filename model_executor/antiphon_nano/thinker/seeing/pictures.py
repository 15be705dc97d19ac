"""Pictures and questions about them: what, how many, which colour, where, whether there is one.

A `Scene` describes a picture; answers are true of it. Questions are worded for typing and for speech alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import picture_wording as wording
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Picture
from antiphon_nano.thinker.seeing import drawing, patches, things
from antiphon_nano.thinker.seeing.degradation import degraded
from antiphon_nano.thinker.seeing.things import MOST, Thing

_SIDES = (((6, 6), 8), ((5, 6), 1), ((6, 5), 1), ((4, 6), 1), ((6, 4), 1), ((5, 5), 2), ((4, 4), 1))
"""Rows and columns of cells, with their weights."""
LARGE = 0.2


@dataclass(frozen=True, slots=True)
class Scene:
    """`things` in the order in which they are named; rows and columns of the picture's `cells`."""

    things: tuple[Thing, ...]
    cells: tuple[int, int] = (6, 6)

    @property
    def kinds(self) -> list[tuple[Thing, int]]:
        """The first thing of each kind, and how many there are, in order."""
        names = [thing.name for thing in self.things]
        first = {name: names.index(name) for name in names}
        return [(self.things[place], names.count(name)) for name, place in first.items()]

    @property
    def shapes(self) -> set[str]:
        return {thing.shape for thing in self.things}

    @property
    def colours(self) -> set[str]:
        return {thing.colour for thing in self.things}


def scene(rng: random.Random) -> Scene:
    """Nothing, one thing, two or three of different kinds, or many of one kind."""
    kind = rng.random()
    if kind < 0.03:
        return _laid_out([], rng)
    if kind < 0.4:
        return _laid_out([things.one(rng)], rng)
    if kind < 0.75:
        return _laid_out(things.several(rng, rng.choice((2, 2, 3))), rng)
    return alike(rng)


Scenes = tuple[tuple[float, Callable[[random.Random], Scene]], ...]
"""Kinds of scene with their weights."""


def one_of(scenes: Scenes, rng: random.Random) -> Scene:
    """A scene of a random kind."""
    (kind,) = rng.choices([kind for _, kind in scenes], [weight for weight, _ in scenes])
    return kind(rng)


def alike(rng: random.Random, most: int = MOST) -> Scene:
    """Two or more of one kind."""
    return _laid_out(things.many(rng, rng.randint(2, most)), rng)


def large(rng: random.Random) -> Scene:
    """One thing that fills many cells."""
    while True:
        thing = things.one(rng)
        if thing.radius > LARGE:
            return _laid_out([thing], rng)


def crowd(rng: random.Random) -> Scene:
    """About as many different things as there is room for. Not in exams."""
    return _laid_out(things.several(rng, rng.randint(5, MOST)), rng)


def mixed(rng: random.Random) -> Scene:
    """Several of one kind beside others. Not in exams."""
    return _laid_out(things.mixed(rng), rng)


def _laid_out(found: Sequence[Thing], rng: random.Random) -> Scene:
    ((rows, columns),) = rng.choices([sides for sides, _ in _SIDES], [weight for _, weight in _SIDES])
    cells = (max(rows, 5), max(columns, 5)) if len(found) > 1 else (rows, columns)
    return Scene(tuple(things.read_order(found, cells)), cells)


def show(scene_: Scene, rng: random.Random) -> Picture:
    """Draws the scene with random colours and ground."""
    rows, columns = scene_.cells
    colours = drawing.palette(rng)
    back = drawing.ground(rng, scene_.things, colours)
    image = drawing.draw(scene_.things, colours, back, (columns * patches.CELL, rows * patches.CELL))
    cut = patches.cut(degraded(np.asarray(image)[None], rng))
    return Picture(cut, drawing.labels(scene_.things, scene_.cells))


def describe(scene_: Scene) -> str:
    """The whole scene in one sentence."""
    kinds = scene_.kinds
    if not kinds:
        return "The picture is empty."
    if len(kinds) == 1:
        thing, count = kinds[0]
        if count == 1:
            return answers.say(answers.ONE_THING[0], thing=f"a {thing.name}")
        slots = {"colour": thing.colour, "plural": things.plural(thing.shape)}
        return answers.say(answers.HOW_MANY[1], count=words.number(count), **slots)
    named = [things.counted(thing, count) for thing, count in kinds]
    if len(kinds) == 2:
        return answers.say(answers.TWO_THINGS[0], thing=named[0], other=named[1])
    return answers.say(answers.THREE_THINGS[0], thing=named[0], other=named[1], third=named[2])


def ask_see(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    form = rng.choice(wording.SEE + wording.TYPED_SEE if typed else wording.SEE)
    return QuestionAnswer(answers.written(form), describe(scene_), "see")


def ask_how_many(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    """How many of a shape, mostly one that is there; or of all shapes."""
    if len(scene_.things) > 1 and rng.random() < 0.25:
        answer = answers.say(answers.HOW_MANY[3], count=words.number(len(scene_.things)))
        return QuestionAnswer(answers.written(rng.choice(wording.HOW_MANY_SHAPES)), answer, "how many")
    shape = (
        rng.choice(sorted(scene_.shapes))
        if scene_.shapes and rng.random() < 0.8
        else _other_shape(scene_, rng)
    )
    count = sum(thing.shape == shape for thing in scene_.things)
    template = answers.HOW_MANY[0] if count > 1 else answers.JUST_ONE[0] if count else answers.NONE_THERE[0]
    answer = answers.say(template, count=words.number(count), plural=things.plural(shape), shape=shape)
    return QuestionAnswer(
        answers.written(rng.choice(wording.HOW_MANY).format(plural=things.plural(shape))),
        answer,
        "how many",
    )


def ask_colour(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    """The colour of a shape that is there in one colour."""
    thing = _one_by(scene_, rng, lambda t: t.shape)
    if thing is None:
        return ask_see(scene_, rng, typed)
    answer = answers.say(answers.COLOUR_OF[0], shape=thing.shape, colour=thing.colour)
    return QuestionAnswer(
        answers.written(rng.choice(wording.COLOUR).format(shape=thing.shape)), answer, "colour"
    )


def ask_shape(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    thing = _one_by(scene_, rng, lambda t: t.colour)
    if thing is None:
        return ask_see(scene_, rng, typed)
    answer = answers.say(answers.ONE_THING[4], thing=f"a {thing.name}")
    return QuestionAnswer(
        answers.written(rng.choice(wording.SHAPE_OF).format(colour=thing.colour)), answer, "shape"
    )


def ask_where(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    thing = _one_by(scene_, rng, lambda t: t.name)
    if thing is None:
        return ask_how_many(scene_, rng, typed)
    name = (
        thing.shape
        if sum(t.shape == thing.shape for t in scene_.things) == 1 and rng.random() < 0.5
        else thing.name
    )
    answer = answers.say(answers.PLACE_OF[0], colour=thing.colour, shape=thing.shape, place=thing.place)
    return QuestionAnswer(answers.written(rng.choice(wording.WHERE).format(name=name)), answer, "where")


def ask_at(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    """What is at a place that holds one thing."""
    thing = _one_by(scene_, rng, lambda t: t.place)
    if thing is None:
        return ask_see(scene_, rng, typed)
    answer = answers.say(answers.ONE_THING[2], thing=f"a {thing.name}", place=thing.place)
    return QuestionAnswer(answers.written(rng.choice(wording.AT).format(place=thing.place)), answer, "at")


def ask_any(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    """Whether there is a shape, perhaps of a colour. Half of the answers are yes."""
    if scene_.things and rng.random() < 0.5:
        thing = rng.choice(scene_.things)
        alone = sum(other.shape == thing.shape for other in scene_.things) == 1 or len(scene_.colours) == 1
        name = thing.shape if alone and rng.random() < 0.4 else thing.name
        answer = answers.say(answers.YES_NO[2], thing=f"a {thing.name}")
    else:
        shape = _other_shape(scene_, rng)
        name = f"{rng.choice(words.COLOURS)} {shape}" if rng.random() < 0.5 else shape
        answer = answers.say(answers.YES_NO[3], shape=shape)
    return QuestionAnswer(answers.written(rng.choice(wording.ANY).format(thing=f"a {name}")), answer, "any")


QUESTIONS: tuple[tuple[float, Callable[[Scene, random.Random, bool], QuestionAnswer]], ...] = (
    (3.0, ask_see),
    (2.0, ask_how_many),
    (1.5, ask_colour),
    (0.7, ask_shape),
    (1.5, ask_where),
    (0.8, ask_at),
    (1.0, ask_any),
)

_DRILLED = (6.0, 3.0, 1.0, 0.7, 2.5, 1.0, 1.5)
"""Weights of the kinds of question in training."""


def asked(scene_: Scene, rng: random.Random, typed: bool = False) -> QuestionAnswer:
    (question,) = rng.choices([q for _, q in QUESTIONS], [weight for weight, _ in QUESTIONS])
    return question(scene_, rng, typed)


def searched(scene_: Scene, shape: str, rng: random.Random) -> str:
    """The words of a search: a shape, singular or plural, perhaps with a colour, mostly its own."""
    name = things.plural(shape) if rng.random() < 0.5 else shape
    if rng.random() < 0.6:
        return name
    own = [thing.colour for thing in scene_.things if thing.shape == shape]
    return f"{rng.choice(own if own and rng.random() < 0.7 else words.COLOURS)} {name}"


def drilled(scene_: Scene, rng: random.Random, most: int) -> list[QuestionAnswer]:
    """At most `most` questions with different answers, mostly of kinds that are hard to learn. A full
    description comes last, so that its answer cannot be copied. Crowds are not described in full.
    """
    makers = [question for _, question in QUESTIONS]
    found: dict[str, QuestionAnswer] = {}
    while not found:
        for question in rng.choices(makers, _DRILLED, k=most):
            drawn = question(scene_, rng, True)
            if drawn.kind != "see" or len(scene_.kinds) <= 3:
                found.setdefault(drawn.answer, drawn)
    return sorted(found.values(), key=lambda drawn: drawn.kind == "see")


def _one_by(scene_: Scene, rng: random.Random, key: Callable[[Thing], str]) -> Thing | None:
    """A thing that differs from all others by `key`."""
    keys = [key(thing) for thing in scene_.things]
    single = [thing for thing in scene_.things if keys.count(key(thing)) == 1]
    return rng.choice(single) if single else None


def _other_shape(scene_: Scene, rng: random.Random) -> str:
    return rng.choice([shape for shape in words.SHAPES if shape not in scene_.shapes])
