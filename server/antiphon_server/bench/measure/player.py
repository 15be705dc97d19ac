"""A virtual audio player: packet arrival times in, underruns and slack out.

Playback starts when the start buffer is full. After an underrun it continues as soon as the next packet
arrives.
"""

from __future__ import annotations

import msgspec

from antiphon_executor.interface.playback import PlayHead


class Underrun(msgspec.Struct, frozen=True):
    """The player stood still for `seconds` until a packet arrived at `ended_s`.

    `waited_since_s`: when the packet before it arrived. Both are times on the player's clock.
    """

    waited_since_s: float
    ended_s: float
    seconds: float


class Playback(msgspec.Struct, frozen=True):
    """The playback of one stream. `heard_s`: audio received.

    `least_slack_s`: the least audio that was left to play when a packet arrived, negative after an underrun;
    None if no packet arrived during playback.
    """

    heard_s: float
    packets: int
    underruns: int
    underrun_s: float
    least_slack_s: float | None


class Player:
    """Plays packets as they arrive. The end of a stream is no underrun; a packet that arrives too late is."""

    def __init__(self, start_buffer_s: float = 0.0) -> None:
        self._start_buffer_s = start_buffer_s
        self._received_s = 0.0
        self._packets = 0
        self._head = PlayHead()
        self._least_slack_s: float | None = None
        self._last_packet_s = 0.0
        self.underruns: list[Underrun] = []

    def add_packet(self, at_s: float, audio_s: float) -> None:
        """`audio_s` seconds of audio arrived at `at_s`, which is not before the previous packet."""
        self._received_s += audio_s
        self._packets += 1
        slack_s, least_s = self._head.slack_s(at_s), self._least_slack_s
        if slack_s is not None:
            self._least_slack_s = slack_s if least_s is None else min(slack_s, least_s)
        if slack_s is not None or self._received_s >= self._start_buffer_s:
            before, self._head = self._head, self._head.generated(at_s, self._received_s)
            if self._head.underruns > before.underruns:
                gap_s = self._head.underrun_s - before.underrun_s
                self.underruns.append(Underrun(self._last_packet_s, at_s, gap_s))
        self._last_packet_s = at_s

    @property
    def received_s(self) -> float:
        return self._received_s

    def to_playback(self) -> Playback:
        return Playback(
            self._received_s,
            self._packets,
            self._head.underruns,
            self._head.underrun_s,
            self._least_slack_s,
        )
