"""Memory of all realtime conversations of one server: what they keep, and its limit."""

from __future__ import annotations

from antiphon_server.errors import Overloaded

_RETRY_S = 10.0


class RealtimeMemory:
    """`held`: bytes of sound, images and text of all accounts."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.held = 0

    def check(self, more: int) -> None:
        """Raises Overloaded if `more` bytes would be too many."""
        if self.held + more > self._limit:
            raise Overloaded(
                f"All realtime conversations of this server keep {self.held >> 20} MiB of sound, images and "
                f"text; the limit is {self._limit >> 20} MiB.",
                code="realtime_memory_full",
                hint="Try again later, or delete items.",
                retry_after_s=_RETRY_S,
            )


class MemoryAccount:
    """One connection's part of `memory`. `close` gives it back."""

    def __init__(self, memory: RealtimeMemory) -> None:
        self._memory = memory
        self._held = 0

    def hold(self, held: int) -> None:
        """The connection keeps `held` bytes now."""
        self._memory.held += held - self._held
        self._held = held

    def check(self, more: int) -> None:
        """See `RealtimeMemory.check`."""
        self._memory.check(more)

    def close(self) -> None:
        self.hold(0)
