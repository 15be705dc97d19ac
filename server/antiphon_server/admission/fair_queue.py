"""A fair queue: which API key is served next, and which request is evicted when the queue is full.

Higher priorities go first. Within one, max-min fair: the key with the fewest running requests is next, then
the key that was served longest ago, then the request that arrived first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    """An item that belongs to an API key; "" without keys."""

    @property
    def owner(self) -> str: ...

    @property
    def priority(self) -> int:
        """Higher starts first; 0 unless a gateway says otherwise."""
        ...


# Owners whose last start is remembered: API keys, or the tenants that a gateway names.
_OWNERS = 65_536

W = TypeVar("W", bound=Owned)


class FairQueue(Generic[W]):
    """Waiting items. Each owner that was served costs one number, for the latest 65,536 owners."""

    def __init__(self) -> None:
        # By priority and owner, each in the order of arrival.
        self._waiting: dict[tuple[int, str], dict[W, int]] = {}
        self._count = 0
        self._arrived = 0
        self._served: dict[str, int] = {}
        self._starts = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, one: W) -> bool:
        return one in self._waiting.get((one.priority, one.owner), ())

    def add(self, one: W) -> None:
        self._arrived += 1
        self._count += 1
        self._waiting.setdefault((one.priority, one.owner), {})[one] = self._arrived

    def discard(self, one: W) -> None:
        own = self._waiting.get((one.priority, one.owner), {})
        if own.pop(one, None) is not None:
            self._count -= 1
            if not own:
                del self._waiting[one.priority, one.owner]

    def mark_started(self, one: W) -> None:
        """It waits no longer, and its owner has been served."""
        self.discard(one)
        self._starts += 1
        self._served.pop(one.owner, None)
        self._served[one.owner] = self._starts
        if len(self._served) > _OWNERS:
            del self._served[next(iter(self._served))]

    def in_order(self, running: Mapping[str, int]) -> Iterator[W]:
        """The next to start first. `running`: how many items of each owner run. A start changes the order.

        The first costs as much as there are owners, whatever the number of items.
        """

        def rank(group: tuple[int, str]) -> tuple[int, int, int]:
            priority, owner = group
            return -priority, running.get(owner, 0), self._served.get(owner, 0)

        for _, groups in groupby(sorted(self._waiting, key=rank), key=rank):
            for one, _ in merge(*(self._waiting[group].items() for group in groups), key=itemgetter(1)):
                yield one


def pick_victim(waiting: Sequence[W], newcomer: Owned) -> W | None:
    """The newest item of the key that has most of them, in the lowest priority that waits.

    Of `newcomer`'s own priority only if its key has fewer even with one more. `waiting`: in the order of
    arrival. None: the newcomer itself has to be refused.
    """
    lowest = min((one.priority for one in waiting), default=newcomer.priority)
    candidates = [one for one in waiting if one.priority == lowest]
    counts = Counter(one.owner for one in candidates)
    if not counts or lowest > newcomer.priority:
        return None
    most = max(counts.values())
    if lowest == newcomer.priority and most <= counts[newcomer.owner] + 1:
        return None
    return next(one for one in reversed(candidates) if counts[one.owner] == most)
