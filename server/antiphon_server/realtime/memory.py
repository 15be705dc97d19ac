"""Memory of all realtime conversations of one server: what they keep, its limit, and the share of one key."""

from __future__ import annotations

from collections import Counter

from antiphon_server.errors import Overloaded

_RETRY_S = 10.0


class RealtimeMemory:
    """`held`: bytes of sound, images and text of all accounts. `per_key`: the most of one owner; 0: all."""

    def __init__(self, limit_bytes: int, per_key: int = 0) -> None:
        self._limit = limit_bytes
        self._per_key = per_key
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        return self._held.total()

    def add(self, owner: str, more: int) -> None:
        """`owner` keeps `more` bytes than before, which may be fewer."""
        self._held[owner] += more
        if not self._held[owner]:
            del self._held[owner]

    def check(self, owner: str, more: int) -> None:
        """Raises Overloaded if `more` bytes of `owner`, which is "" without a key, would be too many."""
        of_key = self._held[owner]
        if owner and self._per_key and of_key + more > self._per_key:
            raise _full("All realtime conversations of this API key", of_key, self._per_key)
        if self.held + more > self._limit:
            raise _full("All realtime conversations of this server", self.held, self._limit)


class MemoryAccount:
    """One connection's part of `memory`. `close` gives it back. `owner`: of its API key."""

    def __init__(self, memory: RealtimeMemory, owner: str = "") -> None:
        self._memory = memory
        self._owner = owner
        self._held = 0

    def hold(self, held: int) -> None:
        """The connection keeps `held` bytes now."""
        self._memory.add(self._owner, held - self._held)
        self._held = held

    def check(self, more: int) -> None:
        """See `RealtimeMemory.check`."""
        self._memory.check(self._owner, more)

    def close(self) -> None:
        self.hold(0)


def _full(whose: str, held: int, limit: int) -> Overloaded:
    return Overloaded(
        f"{whose} keep {held >> 20} MiB of sound, images and text; the limit is {limit >> 20} MiB.",
        code="realtime_memory_full",
        hint="Try again later, or delete items.",
        retry_after_s=_RETRY_S,
    )
