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
from antiphon_nano.thinker.asking.numbers import Asked
from antiphon_nano.thinker.dialogue import Picture
from antiphon_nano.thinker.seeing import drawing, patches, things
from antiphon_nano.thinker.seeing.things import MOST, Thing
from antiphon_nano.thinker.seeing.wear import worn

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


def scene(chance: random.Random) -> Scene:
    """Nothing, one thing, two or three of different kinds, or many of one kind."""
    kind = chance.random()
    if kind < 0.03:
        return _laid_out([], chance)
    if kind < 0.4:
        return _laid_out([things.one(chance)], chance)
    if kind < 0.75:
        return _laid_out(things.several(chance, chance.choice((2, 2, 3))), chance)
    return alike(chance)


Scenes = tuple[tuple[float, Callable[[random.Random], Scene]], ...]
"""Kinds of scene with their weights."""


def one_of(scenes: Scenes, chance: random.Random) -> Scene:
    """A scene of a random kind."""
    (kind,) = chance.choices([kind for _, kind in scenes], [weight for weight, _ in scenes])
    return kind(chance)


def alike(chance: random.Random, most: int = MOST) -> Scene:
    """Two or more of one kind."""
    return _laid_out(things.many(chance, chance.randint(2, most)), chance)


def large(chance: random.Random) -> Scene:
    """One thing that fills many cells."""
    while True:
        thing = things.one(chance)
        if thing.radius > LARGE:
            return _laid_out([thing], chance)


def crowd(chance: random.Random) -> Scene:
    """About as many different things as there is room for. Not in exams."""
    return _laid_out(things.several(chance, chance.randint(5, MOST)), chance)


def mixed(chance: random.Random) -> Scene:
    """Several of one kind beside others. Not in exams."""
    return _laid_out(things.mixed(chance), chance)


def _laid_out(found: Sequence[Thing], chance: random.Random) -> Scene:
    ((rows, columns),) = chance.choices([sides for sides, _ in _SIDES], [weight for _, weight in _SIDES])
    cells = (max(rows, 5), max(columns, 5)) if len(found) > 1 else (rows, columns)
    return Scene(tuple(things.read_order(found, cells)), cells)


def show(scene_: Scene, chance: random.Random) -> Picture:
    """Draws the scene with random colours and ground."""
    rows, columns = scene_.cells
    colours = drawing.palette(chance)
    back = drawing.ground(chance, scene_.things, colours)
    image = drawing.draw(scene_.things, colours, back, (columns * patches.CELL, rows * patches.CELL))
    cut = patches.cut(worn(np.asarray(image)[None], chance))
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


def asked_see(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    form = chance.choice(wording.SEE + wording.TYPED_SEE if typed else wording.SEE)
    return Asked(answers.written(form), describe(scene_), "see")


def asked_how_many(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    """How many of a shape, mostly one that is there; or of all shapes."""
    if len(scene_.things) > 1 and chance.random() < 0.25:
        answer = answers.say(answers.HOW_MANY[3], count=words.number(len(scene_.things)))
        return Asked(answers.written(chance.choice(wording.HOW_MANY_SHAPES)), answer, "how many")
    shape = (
        chance.choice(sorted(scene_.shapes))
        if scene_.shapes and chance.random() < 0.8
        else _other_shape(scene_, chance)
    )
    count = sum(thing.shape == shape for thing in scene_.things)
    template = answers.HOW_MANY[0] if count > 1 else answers.JUST_ONE[0] if count else answers.NONE_THERE[0]
    answer = answers.say(template, count=words.number(count), plural=things.plural(shape), shape=shape)
    return Asked(
        answers.written(chance.choice(wording.HOW_MANY).format(plural=things.plural(shape))),
        answer,
        "how many",
    )


def asked_colour(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    """The colour of a shape that is there in one colour."""
    thing = _one_by(scene_, chance, lambda t: t.shape)
    if thing is None:
        return asked_see(scene_, chance, typed)
    answer = answers.say(answers.COLOUR_OF[0], shape=thing.shape, colour=thing.colour)
    return Asked(answers.written(chance.choice(wording.COLOUR).format(shape=thing.shape)), answer, "colour")


def asked_shape(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    thing = _one_by(scene_, chance, lambda t: t.colour)
    if thing is None:
        return asked_see(scene_, chance, typed)
    answer = answers.say(answers.ONE_THING[4], thing=f"a {thing.name}")
    return Asked(
        answers.written(chance.choice(wording.SHAPE_OF).format(colour=thing.colour)), answer, "shape"
    )


def asked_where(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    thing = _one_by(scene_, chance, lambda t: t.name)
    if thing is None:
        return asked_how_many(scene_, chance, typed)
    name = (
        thing.shape
        if sum(t.shape == thing.shape for t in scene_.things) == 1 and chance.random() < 0.5
        else thing.name
    )
    answer = answers.say(answers.PLACE_OF[0], colour=thing.colour, shape=thing.shape, place=thing.place)
    return Asked(answers.written(chance.choice(wording.WHERE).format(name=name)), answer, "where")


def asked_at(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    """What is at a place that holds one thing."""
    thing = _one_by(scene_, chance, lambda t: t.place)
    if thing is None:
        return asked_see(scene_, chance, typed)
    answer = answers.say(answers.ONE_THING[2], thing=f"a {thing.name}", place=thing.place)
    return Asked(answers.written(chance.choice(wording.AT).format(place=thing.place)), answer, "at")


def asked_any(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    """Whether there is a shape, perhaps of a colour. Half of the answers are yes."""
    if scene_.things and chance.random() < 0.5:
        thing = chance.choice(scene_.things)
        alone = sum(other.shape == thing.shape for other in scene_.things) == 1 or len(scene_.colours) == 1
        name = thing.shape if alone and chance.random() < 0.4 else thing.name
        answer = answers.say(answers.YES_NO[2], thing=f"a {thing.name}")
    else:
        shape = _other_shape(scene_, chance)
        name = f"{chance.choice(words.COLOURS)} {shape}" if chance.random() < 0.5 else shape
        answer = answers.say(answers.YES_NO[3], shape=shape)
    return Asked(answers.written(chance.choice(wording.ANY).format(thing=f"a {name}")), answer, "any")


QUESTIONS: tuple[tuple[float, Callable[[Scene, random.Random, bool], Asked]], ...] = (
    (3.0, asked_see),
    (2.0, asked_how_many),
    (1.5, asked_colour),
    (0.7, asked_shape),
    (1.5, asked_where),
    (0.8, asked_at),
    (1.0, asked_any),
)

_DRILLED = (6.0, 3.0, 1.0, 0.7, 2.5, 1.0, 1.5)
"""Weights of the kinds of question in training."""


def asked(scene_: Scene, chance: random.Random, typed: bool = False) -> Asked:
    (question,) = chance.choices([q for _, q in QUESTIONS], [weight for weight, _ in QUESTIONS])
    return question(scene_, chance, typed)


def searched(scene_: Scene, shape: str, chance: random.Random) -> str:
    """The words of a search: a shape, singular or plural, perhaps with a colour, mostly its own."""
    name = things.plural(shape) if chance.random() < 0.5 else shape
    if chance.random() < 0.6:
        return name
    own = [thing.colour for thing in scene_.things if thing.shape == shape]
    return f"{chance.choice(own if own and chance.random() < 0.7 else words.COLOURS)} {name}"


def drilled(scene_: Scene, chance: random.Random, most: int) -> list[Asked]:
    """At most `most` questions with different answers, mostly of kinds that are hard to learn. A full
    description comes last, so that its answer cannot be copied. Crowds are not described in full.
    """
    makers = [question for _, question in QUESTIONS]
    found: dict[str, Asked] = {}
    while not found:
        for question in chance.choices(makers, _DRILLED, k=most):
            drawn = question(scene_, chance, True)
            if drawn.kind != "see" or len(scene_.kinds) <= 3:
                found.setdefault(drawn.answer, drawn)
    return sorted(found.values(), key=lambda drawn: drawn.kind == "see")


def _one_by(scene_: Scene, chance: random.Random, key: Callable[[Thing], str]) -> Thing | None:
    """A thing that differs from all others by `key`."""
    keys = [key(thing) for thing in scene_.things]
    single = [thing for thing in scene_.things if keys.count(key(thing)) == 1]
    return chance.choice(single) if single else None


def _other_shape(scene_: Scene, chance: random.Random) -> str:
    return chance.choice([shape for shape in words.SHAPES if shape not in scene_.shapes])
