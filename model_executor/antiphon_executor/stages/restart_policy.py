"""When a dead engine is started again, and when that is given up.

In: the times of its deaths. Out: how long to wait before the next start, or that there is none. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most `most` restarts within `window_s` seconds; each waits twice as long as the one before it."""

    most: int
    window_s: float = 600.0
    first_s: float = 1.0
    longest_s: float = 30.0

    def delay_s(self, deaths: Sequence[float], now: float) -> float | None:
        """Seconds to wait after the last of `deaths` (monotonic, rising), None to give up.

        Deaths that lie further back than the window count no more: an engine that lived is trusted again.
        """
        recent = sum(1 for death in deaths if now - death <= self.window_s)
        if recent > self.most:
            return None
        return min(self.first_s * 2.0 ** max(recent - 1, 0), self.longest_s)
