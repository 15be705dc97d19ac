"""A virtual player: when packets of sound arrived → whether a listener would have heard a hole.

In: arrival times and lengths, in seconds of one monotonic clock. Out: underruns and slack. Pure.
It plays as soon as its start buffer is full, and after a hole at once when sound comes again.
"""

from __future__ import annotations

import msgspec

# Sums of packet lengths in floating point: less than a sample's fraction is no hole.
_ROUNDING_S = 1e-9


class Playback(msgspec.Struct, frozen=True):
    """What a listener got. `least_slack_s`: the least sound left at a packet's arrival, negative after a
    hole; None where no packet arrived while it played.
    """

    heard_s: float
    packets: int
    underruns: int
    underrun_s: float
    least_slack_s: float | None


class Player:
    """`hear` each packet as it arrives. A stream's end is no underrun: a packet that came too late is."""

    def __init__(self, start_buffer_s: float = 0.0) -> None:
        self._start_buffer_s = start_buffer_s
        self._heard_s = 0.0
        self._packets = 0
        self._runs_dry_at_s: float | None = None
        self._underruns = 0
        self._underrun_s = 0.0
        self._least_slack_s: float | None = None

    def hear(self, at_s: float, audio_s: float) -> None:
        """`audio_s` seconds of sound arrived at `at_s`, no earlier than the packet before."""
        self._heard_s += audio_s
        self._packets += 1
        if self._runs_dry_at_s is None:
            if self._heard_s >= self._start_buffer_s:
                self._runs_dry_at_s = at_s + self._heard_s
            return
        slack_s = self._runs_dry_at_s - at_s
        least_s = self._least_slack_s
        self._least_slack_s = slack_s if least_s is None else min(slack_s, least_s)
        if slack_s < -_ROUNDING_S:
            self._underruns += 1
            self._underrun_s -= slack_s
            self._runs_dry_at_s = at_s
        self._runs_dry_at_s += audio_s

    @property
    def heard_s(self) -> float:
        return self._heard_s

    def read(self) -> Playback:
        return Playback(self._heard_s, self._packets, self._underruns, self._underrun_s, self._least_slack_s)
