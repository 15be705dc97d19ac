"""Coloured shapes with place and size, from which pictures and clips are made, and their names."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_nano.domain import words

GRID = 3
MOST = GRID * GRID
"""Maximum number of things in a picture."""
_PLACES = (
    ("in the top left corner", "at the top", "in the top right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left corner", "at the bottom", "in the bottom right corner"),
)


@dataclass(frozen=True, slots=True)
class Thing:
    """`x`, `y`: centre; `radius`: half of its extent; as shares of the picture's side. `turn`: degrees."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    turn: float = 0.0

    @property
    def name(self) -> str:
        """The name without its article."""
        return f"{self.colour} {self.shape}"

    @property
    def ninth(self) -> tuple[int, int]:
        """Row and column of the ninth of the picture with its centre."""
        return min(GRID - 1, int(self.y * GRID)), min(GRID - 1, int(self.x * GRID))

    @property
    def place(self) -> str:
        row, column = self.ninth
        return _PLACES[row][column]


def plural(shape: str) -> str:
    return words.SHAPE_PLURALS[words.SHAPES.index(shape)]


def counted(thing: Thing, count: int) -> str:
    """With an article or a number: "a red dot", "two red dots"."""
    return f"a {thing.name}" if count == 1 else f"{words.number(count)} {thing.colour} {plural(thing.shape)}"


def read_order(things: Sequence[Thing], cells: tuple[int, int]) -> list[Thing]:
    """Reading order, by rows of cells from the top, each from the left: the order in which things are named,
    and in which the Thinker reads their cells.
    """
    rows, columns = cells
    return sorted(things, key=lambda t: (int(t.y * rows), int(t.x * columns)))


def one(rng: random.Random) -> Thing:
    """A thing alone in its picture: any size, anywhere."""
    row, column = rng.randrange(GRID), rng.randrange(GRID)
    if rng.random() < 0.4:
        row = column = 1
    most = 0.34 if (row, column) == (1, 1) else 0.17
    return _placed(rng, _kind(rng), row, column, rng.uniform(0.12, most))


def several(rng: random.Random, count: int) -> list[Thing]:
    """`count` things of different kinds in different ninths."""
    return [
        _placed(rng, kind, *divmod(cell, GRID), rng.uniform(0.1, 0.16))
        for kind, cell in zip(_kinds(rng, count), rng.sample(range(GRID * GRID), count), strict=True)
    ]


def many(rng: random.Random, count: int) -> list[Thing]:
    """`count` things of one kind."""
    kind, radius = _kind(rng), rng.uniform(0.09, 0.145)
    cells = rng.sample(range(GRID * GRID), count)
    return [_placed(rng, kind, *divmod(cell, GRID), radius) for cell in cells]


def mixed(rng: random.Random) -> list[Thing]:
    """Two kinds, seldom three, at least one of them several times; in different ninths."""
    more = rng.choice((1, 1, 1, 2))
    counts = [rng.choice((2, 2, 3, 4)), *(rng.choice((1, 1, 2)) for _ in range(more))]
    kinds = _kinds(rng, len(counts))
    each = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [
        _placed(rng, kind, *divmod(cell, GRID), rng.uniform(0.09, 0.145))
        for kind, cell in zip(each, rng.sample(range(GRID * GRID), len(each)), strict=True)
    ]


def _kinds(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """`count` different kinds."""
    kinds: list[tuple[str, str]] = []
    while len(kinds) < count:
        kind = _kind(rng)
        if kind not in kinds:
            kinds.append(kind)
    return kinds


def _kind(rng: random.Random) -> tuple[str, str]:
    return rng.choice(words.COLOURS), rng.choice(words.SHAPES)


def _placed(rng: random.Random, kind: tuple[str, str], row: int, column: int, radius: float) -> Thing:
    spare = max(0.0, 0.5 / GRID - radius) + 0.02
    x = (column + 0.5) / GRID + rng.uniform(-spare, spare)
    y = (row + 0.5) / GRID + rng.uniform(-spare, spare)
    inside = min(max(radius, 0.03), 0.45)
    x, y = min(max(x, inside), 1 - inside), min(max(y, inside), 1 - inside)
    return Thing(kind[0], kind[1], x, y, radius, rng.uniform(-8, 8))
