"""Draws things as a picture, and labels the Thinker's cells for training.

`labels`: int64 [cells, 7]: colour and shape (0 is none), whether a centre is there, offset across and down
(`OFFSETS`) and size (`SIZES`) of the thing, and the ninth with its centre; the last four `NOWHERE` if empty.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from antiphon_nano.domain import words
from antiphon_nano.thinker.seeing.things import GRID, Thing

Colour = tuple[int, int, int]
_FINE = 3
"""Supersampling, for smooth edges."""
_LEAST_CONTRAST = 130
_FILLED = 0.06
"""Share of a cell that a thing must cover to be labelled."""
OFFSETS = np.linspace(-1.05, 1.05, 8)
"""Bin borders of the offset between the middle of a cell and that of its thing, in radii."""
SIZES = np.geomspace(0.11, 0.28, 7)
"""Bin borders of radii, as shares of the picture's side."""
NOWHERE = -1

_NAMED: Mapping[str, Colour] = {
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
    "orange": (255, 165, 0), "purple": (128, 0, 128), "pink": (255, 192, 203), "brown": (139, 69, 19),
    "black": (0, 0, 0), "white": (255, 255, 255), "gray": (128, 128, 128), "cyan": (0, 255, 255),
}  # fmt: skip
_SOFT: Mapping[str, Colour] = {
    "red": (214, 39, 40), "green": (44, 160, 60), "blue": (40, 80, 210), "yellow": (245, 215, 50),
    "orange": (250, 135, 20), "purple": (130, 50, 180), "pink": (250, 130, 180), "brown": (125, 80, 45),
    "black": (25, 25, 25), "white": (248, 248, 248), "gray": (135, 135, 135), "cyan": (50, 210, 220),
}  # fmt: skip
_GROUNDS: tuple[Colour, ...] = (
    (255, 255, 255), (255, 255, 255), (245, 245, 240), (0, 0, 0), (30, 30, 40), (225, 225, 225),
    (200, 220, 240), (240, 230, 200), (60, 60, 60), (215, 240, 215),
)  # fmt: skip


def palette(rng: random.Random) -> dict[str, Colour]:
    """One colour for each name: randomly between the usual colour and a softer one, with noise."""
    share = rng.choice((0.0, 0.0, 1.0, rng.random()))
    shake = rng.choice((0, 6, 14))
    return {name: _with_noise(_mixed(_NAMED[name], _SOFT[name], share), rng, shake) for name in words.COLOURS}


def ground(rng: random.Random, things: Sequence[Thing], colours: Mapping[str, Colour]) -> Colour:
    """A ground from which all things stand out."""
    fitting = [g for g in _GROUNDS if all(_contrast(g, colours[t.colour]) > _LEAST_CONTRAST for t in things)]
    return _with_noise(rng.choice(fitting), rng, 5) if fitting else (90, 120, 90)


def draw(
    things: Sequence[Thing], colours: Mapping[str, Colour], back: Colour, size: tuple[int, int]
) -> Image.Image:
    """`size`: width and height in pixels. Later things cover earlier ones."""
    fine = (size[0] * _FINE, size[1] * _FINE)
    image = Image.new("RGB", fine, back)
    pen = ImageDraw.Draw(image)
    for thing in things:
        _shape(pen, thing, fine, colours[thing.colour], back)
    return image.resize(size, Image.Resampling.BOX)


def labels(things: Sequence[Thing], cells: tuple[int, int]) -> NDArray[np.int64]:
    """`cells`: rows and columns of the Thinker's tokens. One row of labels per cell, row by row."""
    rows, columns = cells
    fine, found = 10, np.zeros((rows, columns, 7), np.int64)
    found[..., 3:] = NOWHERE
    across, down = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    side = np.array((columns, rows)) / min(rows, columns)
    owners = Image.new("L", (columns * fine, rows * fine), 0)
    pen = ImageDraw.Draw(owners)
    for index, thing in enumerate(things):
        _shape(pen, thing, owners.size, index + 1, 0)
    cut = (
        np.asarray(owners).reshape(rows, fine, columns, fine).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    )
    for index, thing in enumerate(things):
        kind = (words.COLOURS.index(thing.colour) + 1, words.SHAPES.index(thing.shape) + 1)
        filled = (cut == index + 1).mean(-1) > _FILLED
        centre = min(rows - 1, int(thing.y * rows)), min(columns - 1, int(thing.x * columns))
        filled[centre] = True
        found[filled, :2] = kind
        found[centre][2] = 1
        right = np.digitize((across - thing.x) * side[0] / thing.radius, OFFSETS)
        lower = np.digitize((down - thing.y) * side[1] / thing.radius, OFFSETS)
        place = np.stack(np.broadcast_arrays(right, lower[:, None], np.digitize(thing.radius, SIZES)), -1)
        found[filled, 3:6] = place[filled]
        found[filled, 6] = thing.ninth[0] * GRID + thing.ninth[1]
    return found.reshape(rows * columns, -1)


def _shape(
    pen: ImageDraw.ImageDraw, thing: Thing, size: tuple[int, int], ink: Colour | int, hole: Colour | int
) -> None:
    side = min(size)
    x, y, r = thing.x * size[0], thing.y * size[1], thing.radius * side
    box = (x - r, y - r, x + r, y + r)
    if thing.shape in ("circle", "ring"):
        pen.ellipse(box, fill=ink)
        if thing.shape == "ring":
            pen.ellipse((x - 0.58 * r, y - 0.58 * r, x + 0.58 * r, y + 0.58 * r), fill=hole)
        return
    if thing.shape == "dot":
        small = max(0.34 * r, 0.028 * side)
        pen.ellipse((x - small, y - small, x + small, y + small), fill=ink)
        return
    for outline in _outlines(thing.shape):
        pen.polygon(_turned(outline, thing.turn, x, y, r), fill=ink)


def _outlines(shape: str) -> list[list[tuple[float, float]]]:
    """Polygons in a square from -1 to 1, y downwards."""
    if shape in ("square", "rectangle", "line"):
        wide, high = {"square": (0.85, 0.85), "rectangle": (1.0, 0.55), "line": (1.0, 0.1)}[shape]
        return [[(-wide, -high), (wide, -high), (wide, high), (-wide, high)]]
    if shape == "cross":
        arm = 0.32
        return [[(-1, -arm), (1, -arm), (1, arm), (-1, arm)], [(-arm, -1), (arm, -1), (arm, 1), (-arm, 1)]]
    if shape == "heart":
        steps = [step * math.tau / 40 for step in range(40)]
        return [[(math.sin(t) ** 3, _heart_height(t)) for t in steps]]
    corners = {"triangle": (3, 1.0), "diamond": (4, 1.0), "hexagon": (6, 1.0), "star": (10, 0.42)}
    count, inner = corners[shape]
    narrow = 0.68 if shape == "diamond" else 1.0
    radii = [inner if shape == "star" and index % 2 else 1.0 for index in range(count)]
    angles = [index * math.tau / count for index in range(count)]
    return [
        [
            (radius * math.sin(a) * narrow, -radius * math.cos(a))
            for radius, a in zip(radii, angles, strict=True)
        ]
    ]


def _heart_height(t: float) -> float:
    return -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16


def _turned(
    outline: Sequence[tuple[float, float]], degrees: float, x: float, y: float, radius: float
) -> list[tuple[float, float]]:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return [(x + radius * (u * cosine - v * sine), y + radius * (u * sine + v * cosine)) for u, v in outline]


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _with_noise(colour: Colour, rng: random.Random, most: int) -> Colour:
    red, green, blue = (min(255, max(0, part + rng.randint(-most, most))) for part in colour)
    return red, green, blue


def _contrast(one: Colour, other: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
