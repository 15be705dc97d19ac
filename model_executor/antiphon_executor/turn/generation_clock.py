"""How long the frames of one spoken answer take to make, over their length: its real-time factor.

In: the moments at which its frames came, and what its client had taken. Out: the factor. Pure. A stream far
ahead of its client is paused (`PaceSettings.park_s`); time in which it may have been paused does not count.
"""

from __future__ import annotations

from antiphon_executor.interface.playback import FRAME_S, PlayHead, seconds_of

# The Talker's own account of the lead is older by a message's way, and counts what it holds back for a start.
_MARGIN_SHARE = 0.25


class GenerationClock:
    """One a stream. `park_s`: the lead at which the stream is paused; None where it never is."""

    def __init__(self, park_s: float | None) -> None:
        self._bound_s = float("inf") if park_s is None else (1 - _MARGIN_SHARE) * park_s
        self._head = PlayHead()
        self._frames = 0
        self._last_s = 0.0
        self._counts = False
        self._counted = 0
        self._seconds = 0.0

    def generated(self, now_s: float) -> None:
        """One more frame is there. The time since the last counts, unless the stream may have paused."""
        if self._counts:
            self._counted += 1
            self._seconds += now_s - self._last_s
        self._frames += 1
        self._last_s = now_s
        self._head = self._head.generated(now_s, seconds_of(self._frames))
        self._counts = self._head.buffered_s(now_s) < self._bound_s

    def consumed(self, now_s: float, seconds: float) -> None:
        """The client's socket has taken this much of the stream."""
        self._head = self._head.consumed(now_s, seconds)

    @property
    def factor(self) -> float | None:
        """None where no frame was timed."""
        return self._seconds / (self._counted * FRAME_S) if self._counted else None
