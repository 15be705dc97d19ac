"""Where a client's player stands in a stream: how much of the sound that was made it can have played.

In: moments at which sound was made, and what the client's socket had taken. Out: the lead, in seconds.
Pure: the clock is passed in. It never knows the player itself, only the furthest that it can be.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.events import SAMPLES_PER_FRAME, SPEAKING_RATE_HZ

FRAME_S = SAMPLES_PER_FRAME / SPEAKING_RATE_HZ
LOOK_AHEAD_S = 555 / SPEAKING_RATE_HZ
# How old the news of a socket may be: a step that was under way, and the way there and back.
NEWS_S = 0.25


def seconds_of(frames: int) -> float:
    """Sound of a stream's first `frames` frames: the vocoder looks 555 samples ahead."""
    return frames * FRAME_S - LOOK_AHEAD_S if frames else 0.0


@dataclass(frozen=True, slots=True)
class PlayHead:
    """`made_s`: sound made so far. `played_s` of it had been played at `at_s`, at most; None before any.

    A player begins with the first sound and runs in real time; where it has played all, it stands until there
    is more. So it does where it has played all that the client's socket had taken, `taken_s`, once that is
    told at all, and what it can have taken and played since. `dry_s`, `dries`: for how long it stood because
    nothing was made, and how often.
    """

    made_s: float = 0.0
    played_s: float = 0.0
    at_s: float | None = None
    taken_s: float | None = None
    dry_s: float = 0.0
    dries: int = 0

    @property
    def begun(self) -> bool:
        return self.at_s is not None

    def lead_s(self, now_s: float) -> float:
        """Sound that the client still has to play; 0 where it has run dry, or not begun."""
        if self.at_s is None:
            return 0.0
        return self.made_s - self._played_s(now_s, self.at_s)

    def made(self, now_s: float, made_s: float) -> PlayHead:
        """`made_s` of the stream is there now, all counted."""
        if self.at_s is None:
            return PlayHead(made_s, 0.0, now_s)
        gap_s = self.played_s + now_s - self.at_s - self.made_s
        played_s = self._played_s(now_s, self.at_s)
        ran_dry = gap_s > 0 and played_s == self.made_s
        return PlayHead(
            made_s,
            played_s,
            now_s,
            self.taken_s,
            self.dry_s + (gap_s if ran_dry else 0.0),
            self.dries + ran_dry,
        )

    def taken(self, now_s: float, taken_s: float) -> PlayHead:
        """The socket has taken `taken_s` of the stream: what it has not taken, nobody can have played."""
        if self.at_s is None:
            return self
        played_s = self._played_s(now_s, self.at_s)
        return PlayHead(self.made_s, played_s, now_s, taken_s, self.dry_s, self.dries)

    def _played_s(self, now_s: float, at_s: float) -> float:
        limit_s = self.made_s
        if self.taken_s is not None:
            limit_s = min(limit_s, max(self.taken_s + NEWS_S, self.played_s))
        return min(self.played_s + now_s - at_s, limit_s)
