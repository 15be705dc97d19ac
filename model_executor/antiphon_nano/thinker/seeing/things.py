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


def one(chance: random.Random) -> Thing:
    """A thing alone in its picture: any size, anywhere."""
    row, column = chance.randrange(GRID), chance.randrange(GRID)
    if chance.random() < 0.4:
        row = column = 1
    most = 0.34 if (row, column) == (1, 1) else 0.17
    return _placed(chance, _kind(chance), row, column, chance.uniform(0.12, most))


def several(chance: random.Random, count: int) -> list[Thing]:
    """`count` things of different kinds in different ninths."""
    return [
        _placed(chance, kind, *divmod(cell, GRID), chance.uniform(0.1, 0.16))
        for kind, cell in zip(_kinds(chance, count), chance.sample(range(GRID * GRID), count), strict=True)
    ]


def many(chance: random.Random, count: int) -> list[Thing]:
    """`count` things of one kind."""
    kind, radius = _kind(chance), chance.uniform(0.09, 0.145)
    cells = chance.sample(range(GRID * GRID), count)
    return [_placed(chance, kind, *divmod(cell, GRID), radius) for cell in cells]


def mixed(chance: random.Random) -> list[Thing]:
    """Two kinds, seldom three, at least one of them several times; in different ninths."""
    more = chance.choice((1, 1, 1, 2))
    counts = [chance.choice((2, 2, 3, 4)), *(chance.choice((1, 1, 2)) for _ in range(more))]
    kinds = _kinds(chance, len(counts))
    each = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [
        _placed(chance, kind, *divmod(cell, GRID), chance.uniform(0.09, 0.145))
        for kind, cell in zip(each, chance.sample(range(GRID * GRID), len(each)), strict=True)
    ]


def _kinds(chance: random.Random, count: int) -> list[tuple[str, str]]:
    """`count` different kinds."""
    kinds: list[tuple[str, str]] = []
    while len(kinds) < count:
        kind = _kind(chance)
        if kind not in kinds:
            kinds.append(kind)
    return kinds


def _kind(chance: random.Random) -> tuple[str, str]:
    return chance.choice(words.COLOURS), chance.choice(words.SHAPES)


def _placed(chance: random.Random, kind: tuple[str, str], row: int, column: int, radius: float) -> Thing:
    spare = max(0.0, 0.5 / GRID - radius) + 0.02
    x = (column + 0.5) / GRID + chance.uniform(-spare, spare)
    y = (row + 0.5) / GRID + chance.uniform(-spare, spare)
    inside = min(max(radius, 0.03), 0.45)
    x, y = min(max(x, inside), 1 - inside), min(max(y, inside), 1 - inside)
    return Thing(kind[0], kind[1], x, y, radius, chance.uniform(-8, 8))
