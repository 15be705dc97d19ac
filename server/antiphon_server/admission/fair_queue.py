"""A fair queue: which API key is served next, and which request is evicted when the queue is full.

Max-min fair: the key with the fewest running requests is next, then the key that was served longest ago, then
the request that arrived first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    """An item that belongs to an API key; "" without keys."""

    @property
    def owner(self) -> str: ...


W = TypeVar("W", bound=Owned)


class FairQueue(Generic[W]):
    """Waiting items. Each owner that was ever served costs one number; there are as many as API keys."""

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

    def mark_started(self, one: W) -> None:
        """It waits no longer, and its owner has been served."""
        self.discard(one)
        self._starts += 1
        self._served[one.owner] = self._starts

    def in_order(self, running: Mapping[str, int]) -> list[W]:
        """The next to start first. `running`: how many items of each owner run. A start changes the order."""

        def rank(one: W) -> tuple[int, int, int]:
            return running.get(one.owner, 0), self._served.get(one.owner, 0), self._waiting[one]

        return sorted(self._waiting, key=rank)


def pick_victim(waiting: Sequence[W], newcomer: str) -> W | None:
    """The newest item of the key that has most of them, if `newcomer`'s key has fewer even with one more.

    `waiting`: in the order of arrival. None: the newcomer itself has to be refused.
    """
    counts = Counter(one.owner for one in waiting)
    if not counts:
        return None
    most = max(counts.values())
    if most <= counts[newcomer] + 1:
        return None
    return next(one for one in reversed(waiting) if counts[one.owner] == most)
