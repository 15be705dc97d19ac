"""Short video clips and questions about them: things that move, grow, shrink or stay.

`Act` describes a clip. Sounds of clips come from `hearing.tones`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from antiphon_nano.domain import answers, words
from antiphon_nano.thinker.asking import picture_wording as wording
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Clip, Sound
from antiphon_nano.thinker.seeing import drawing, patches, things
from antiphon_nano.thinker.seeing.degradation import degraded
from antiphon_nano.thinker.seeing.things import Thing

CHANGES = ("still", "left", "right", "up", "down", "growing", "shrinking")
"""What a thing does in a clip. The index is the label in training."""
_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_CELLS = (((4, 4), 6), ((3, 4), 3), ((4, 3), 1))
"""Rows and columns of cells with their weights: square, landscape, portrait."""


@dataclass(frozen=True, slots=True)
class Act:
    """`actor`, as it is in the first frame, does `change`; `rest` does not move."""

    actor: Thing
    change: str
    rest: tuple[Thing, ...]
    frames: int
    fps: float
    pace: float
    """Movement per frame as a share of the frame's side, or growth as a share of the radius."""

    def at(self, frame: int) -> Thing:
        """The actor in a frame."""
        if self.change in _STEPS:
            dx, dy = _STEPS[self.change]
            way = self.pace * frame
            return replace(self.actor, x=self.actor.x + dx * way, y=self.actor.y + dy * way)
        if self.change == "still":
            return self.actor
        factor = 1 + self.pace * frame if self.change == "growing" else 1 / (1 + self.pace * frame)
        return replace(self.actor, radius=self.actor.radius * factor)


def act(rng: random.Random) -> Act:
    change = rng.choices(CHANGES, (1, 2, 2, 2, 2, 1, 1))[0]
    frames, fps = rng.randint(4, 8), rng.choice((1.0, 2.0))
    one, other = (replace(thing, radius=rng.uniform(0.11, 0.16)) for thing in things.several(rng, 2))
    pace = rng.uniform(0.4, 0.62) / (frames - 1)
    if change in _STEPS:
        one = _starting(rng, one, _STEPS[change], pace * (frames - 1))
    elif change == "still":
        one = _starting(rng, one, _STEPS["right"], 0.0)
    else:
        pace = rng.uniform(1.1, 1.9) / (frames - 1)
        small = rng.uniform(0.09, 0.13)
        most = small * (1 + pace * (frames - 1))
        x, y = rng.uniform(most, 1 - most), rng.uniform(most, 1 - most)
        one = replace(one, x=x, y=y, radius=small if change == "growing" else most)
    rest = (_aside(rng, one, other),) if rng.random() < 0.3 and change in _STEPS else ()
    return Act(one, change, rest, frames, fps, pace)


def show(act_: Act, rng: random.Random, sound: Sound | None = None) -> Clip:
    """Draws the clip with random colours and ground, and adds the sound if any."""
    colours = drawing.palette(rng)
    back = drawing.ground(rng, (act_.actor, *act_.rest), colours)
    rows, columns = cells(rng)
    size = (columns * patches.CELL, rows * patches.CELL)
    shown = [(*act_.rest, act_.at(frame)) for frame in range(act_.frames)]
    frames = np.stack([np.asarray(drawing.draw(found, colours, back, size)) for found in shown])
    cut = patches.cut(degraded(frames, rng))
    return Clip(cut, act_.frames, act_.fps, sound, labels(act_, (rows, columns)))


def cells(rng: random.Random) -> tuple[int, int]:
    """Rows and columns of a clip's frames."""
    ((rows, columns),) = rng.choices([sides for sides, _ in _CELLS], [weight for _, weight in _CELLS])
    return rows, columns


def describe(act_: Act) -> str:
    slots = {"colour": act_.actor.colour, "shape": act_.actor.shape}
    if act_.change in _STEPS:
        return answers.say(answers.MOTION[0], direction=act_.change, **slots)
    if act_.change == "still":
        return answers.say(answers.MOTION[5], **slots)
    return answers.say(answers.MOTION[4], change=act_.change, **slots)


def asked(act_: Act, rng: random.Random) -> QuestionAnswer:
    kind = rng.random()
    if kind < 0.6:
        return QuestionAnswer(answers.written(rng.choice(wording.CLIP_SEE)), describe(act_), "video")
    if kind < 0.85:
        form = rng.choice(wording.CLIP_WHERE).format(shape=act_.actor.shape)
        return QuestionAnswer(answers.written(form), describe(act_), "video where")
    form = rng.choice(wording.CLIP_COLOUR).format(shape=act_.actor.shape)
    answer = answers.say(answers.COLOUR_OF[0], shape=act_.actor.shape, colour=act_.actor.colour)
    return QuestionAnswer(answers.written(form), answer, "video colour")


def labels(act_: Act, size: tuple[int, int]) -> NDArray[np.int64]:
    """[cells of all temporal patches, 8]: the labels of each patch's first frame, and the change where the
    actor is, an index into `CHANGES`; -1 elsewhere, and where a patch repeats the last frame.
    """
    parts = []
    for first in range(0, act_.frames, patches.TEMPORAL):
        still = drawing.labels((*act_.rest, act_.at(first)), size)
        change = np.full((len(still), 1), -1)
        if first + 1 < act_.frames:
            kind = (words.COLOURS.index(act_.actor.colour) + 1, words.SHAPES.index(act_.actor.shape) + 1)
            change[(still[:, :2] == kind).all(1)] = CHANGES.index(act_.change)
        parts.append(np.concatenate((still, change), axis=1))
    return np.concatenate(parts)


def _starting(rng: random.Random, thing: Thing, step: tuple[int, int], way: float) -> Thing:
    """Moves `thing` along the axis of `step` so that it stays in the picture; random along the other axis."""
    room = 1 - 2 * thing.radius - way
    along = thing.radius + rng.random() * max(0.0, room)
    across = rng.uniform(thing.radius, 1 - thing.radius)
    start = along if sum(step) > 0 else 1 - along
    return replace(thing, x=start, y=across) if step[0] else replace(thing, x=across, y=start)


def _aside(rng: random.Random, actor: Thing, other: Thing) -> Thing:
    """Moves `other` off the actor's line, if there is room."""
    horizontal = actor.y
    far = 0.2 if horizontal > 0.5 else 0.8
    return replace(other, x=rng.uniform(0.2, 0.8), y=far, radius=0.11)
