"""Decides whether a dead engine is restarted, and after which delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most `max_restarts` within `window_s` seconds. Each delay is twice the one before."""

    max_restarts: int
    window_s: float = 600.0
    first_s: float = 1.0
    longest_s: float = 30.0

    def delay_s(self, deaths: Sequence[float], now: float) -> float | None:
        """Seconds to wait after the last of `deaths` (monotonic, ascending); None to give up.

        Deaths before the window do not count.
        """
        recent = sum(1 for death in deaths if now - death <= self.window_s)
        if recent > self.max_restarts:
            return None
        return min(self.first_s * 2.0 ** max(recent - 1, 0), self.longest_s)
