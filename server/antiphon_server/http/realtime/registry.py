"""The open realtime connections of one server, and their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.errors import BadRequest, Overloaded
from antiphon_server.realtime.memory import RealtimeMemory

_RETRY_S = 5.0


class RealtimeRegistry:
    """`open`: connections, by owner of their key. `memory`: what they all keep."""

    def __init__(self, policy: RealtimePolicy) -> None:
        self._policy = policy
        self.memory = RealtimeMemory(policy.all_media_bytes, policy.media_bytes_per_key)
        self.open: Counter[str | None] = Counter()

    def check_room(self, owner: str | None) -> None:
        """Raises Overloaded if there are too many."""
        policy = self._policy
        if not policy.connections:
            raise BadRequest("This server accepts no realtime connections.", code="realtime_disabled")
        of_all, of_key = self.open.total(), self.open[owner]
        if of_all >= policy.connections:
            raise _full(f"{of_all} realtime connections are open, which is the limit")
        if policy.connections_per_key and of_key >= policy.connections_per_key:
            raise _full(f"{of_key} realtime connections of this API key are open, which is the limit")

    @contextmanager
    def enter(self, owner: str | None) -> Iterator[None]:
        self.open[owner] += 1
        try:
            yield
        finally:
            self.open[owner] -= 1
            if not self.open[owner]:
                del self.open[owner]


def _full(message: str) -> Overloaded:
    return Overloaded(message, code="too_many_connections", retry_after_s=_RETRY_S)
