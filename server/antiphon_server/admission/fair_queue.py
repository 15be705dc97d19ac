"""Whose turn it is when several keys wait for the same slots, and who gives way when the queue is full.

In: turns with the key they came with, and how many of each key run. Out: an order. Pure; nobody waits here.
Max-min fair: who has least running is next, then who was served longest ago, then who came first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    """Something that belongs to a key."""

    @property
    def owner(self) -> str: ...


W = TypeVar("W", bound=Owned)


class FairQueue(Generic[W]):
    """What waits, in the order of its arrival. Owners are as many as there are keys."""

    def __init__(self) -> None:
        self._waiting: dict[W, int] = {}
        self._arrived = 0
        self._served: dict[str, int] = {}
        self._starts = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, one: W) -> bool:
        return one in self._waiting

    def __iter__(self) -> Iterator[W]:
        """In the order of their arrival."""
        return iter(self._waiting)

    def add(self, one: W) -> None:
        self._arrived += 1
        self._waiting[one] = self._arrived

    def discard(self, one: W) -> None:
        self._waiting.pop(one, None)

    def started(self, one: W) -> None:
        """It waits no longer, and its owner has been served."""
        self.discard(one)
        self._starts += 1
        self._served[one.owner] = self._starts

    def in_order(self, running: Mapping[str, int]) -> list[W]:
        """Who should start first, if it can. One start changes the order of all that is left."""

        def rank(one: W) -> tuple[int, int, int]:
            return running.get(one.owner, 0), self._served.get(one.owner, 0), self._waiting[one]

        return sorted(self._waiting, key=rank)


def who_gives_way(waiting: Sequence[W], newcomer: str) -> W | None:
    """The newest of the key that waits most, where the newcomer's key would still wait less than it does.

    `waiting`: in the order of arrival. None: the newcomer itself is one too many.
    """
    counts = Counter(one.owner for one in waiting)
    if not counts:
        return None
    most = max(counts.values())
    if most <= counts[newcomer] + 1:
        return None
    return next(one for one in reversed(waiting) if counts[one.owner] == most)
