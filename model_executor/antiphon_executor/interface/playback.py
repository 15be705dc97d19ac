"""Model of a client's player: how much audio it still has buffered, at least.

The Talker's scheduler counts the audio that was generated, the packetizer what was sent, and the bench what
arrived. The player itself is not visible; the model gives the furthest position that it can have reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

FRAME_S = SAMPLES_PER_FRAME / OUTPUT_SAMPLE_RATE_HZ
LOOK_AHEAD_S = 555 / OUTPUT_SAMPLE_RATE_HZ
# How old a report of a socket can be: one Talker step in progress plus the message there and back.
REPORT_AGE_S = 0.25
# A shorter gap is the rounding of floating-point sums, not an underrun.
_ROUNDING_S = 1e-9


def seconds_of(frames: int) -> float:
    """Seconds of audio in the first `frames` frames. The vocoder looks 555 samples ahead."""
    return frames * FRAME_S - LOOK_AHEAD_S if frames else 0.0


@dataclass(frozen=True, slots=True)
class PlayHead:
    """State of one stream's playback. Each method returns the next state; times are monotonic seconds.

    `generated_s`: audio generated so far. `played_s`: audio played at `at_s`, at most; `at_s` is None before
    the first audio. `consumed_s`: audio that the client's socket has consumed, None if never reported.
    `underrun_s`, `underruns`: how long playback stalled because no audio was generated, and how often.

    The player starts with the first audio and plays in real time. It stalls when it has played all generated
    audio, or all that its socket has consumed (plus what it may have consumed since the last report).
    """

    generated_s: float = 0.0
    played_s: float = 0.0
    at_s: float | None = None
    consumed_s: float | None = None
    underrun_s: float = 0.0
    underruns: int = 0

    @property
    def started(self) -> bool:
        return self.at_s is not None

    def buffered_s(self, now_s: float) -> float:
        """Generated audio not yet played; 0 during an underrun and before the start."""
        if self.at_s is None:
            return 0.0
        return self.generated_s - self._played_s(now_s, self.at_s)

    def slack_s(self, now_s: float) -> float | None:
        """Seconds until an underrun; negative for as long as one has lasted. None before the start.

        It assumes that the client consumes audio at once.
        """
        return None if self.at_s is None else self.generated_s - self.played_s - (now_s - self.at_s)

    def generated(self, now_s: float, generated_s: float) -> PlayHead:
        """The stream has `generated_s` of audio in total now."""
        if self.at_s is None:
            return PlayHead(generated_s, 0.0, now_s)
        gap_s = self.played_s + now_s - self.at_s - self.generated_s
        played_s = self._played_s(now_s, self.at_s)
        stalled = gap_s > _ROUNDING_S and played_s == self.generated_s
        return PlayHead(
            generated_s,
            played_s,
            now_s,
            self.consumed_s,
            self.underrun_s + (gap_s if stalled else 0.0),
            self.underruns + stalled,
        )

    def consumed(self, now_s: float, consumed_s: float) -> PlayHead:
        """The client's socket has consumed `consumed_s` in total, so no more can have been played."""
        if self.at_s is None:
            return self
        played_s = self._played_s(now_s, self.at_s)
        return PlayHead(self.generated_s, played_s, now_s, consumed_s, self.underrun_s, self.underruns)

    def _played_s(self, now_s: float, at_s: float) -> float:
        limit_s = self.generated_s
        if self.consumed_s is not None:
            limit_s = min(limit_s, max(self.consumed_s + REPORT_AGE_S, self.played_s))
        return min(self.played_s + now_s - at_s, limit_s)
