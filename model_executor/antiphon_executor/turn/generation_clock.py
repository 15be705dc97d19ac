"""Measures a speech stream's real-time factor: generation time divided by duration.

A stream far ahead of its client is paused (`PaceSettings.park_s`). Time during which it may have been paused
is not counted.
"""

from __future__ import annotations

from antiphon_executor.interface.playback import FRAME_S, PlayHead, seconds_of

# The Talker's own estimate is older by one message and includes audio that waits for the startup buffer.
_MARGIN_SHARE = 0.25


class GenerationClock:
    """The clock of one stream. `park_s`: buffered seconds at which the stream is paused; None: never."""

    def __init__(self, park_s: float | None) -> None:
        self._bound_s = float("inf") if park_s is None else (1 - _MARGIN_SHARE) * park_s
        self._head = PlayHead()
        self._frames = 0
        self._last_s = 0.0
        self._counts = False
        self._counted = 0
        self._seconds = 0.0

    def generated(self, now_s: float) -> None:
        """One more frame has arrived. The time since the previous one counts unless the stream was paused."""
        if self._counts:
            self._counted += 1
            self._seconds += now_s - self._last_s
        self._frames += 1
        self._last_s = now_s
        self._head = self._head.generated(now_s, seconds_of(self._frames))
        self._counts = self._head.buffered_s(now_s) < self._bound_s

    def consumed(self, now_s: float, seconds: float) -> None:
        """The client's socket has consumed `seconds` of the stream in total."""
        self._head = self._head.consumed(now_s, seconds)

    @property
    def factor(self) -> float | None:
        """The real-time factor; None if no frame was timed."""
        return self._seconds / (self._counted * FRAME_S) if self._counted else None
