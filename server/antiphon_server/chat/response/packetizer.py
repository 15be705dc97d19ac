"""Packetizer of streamed speech: a startup buffer, then packets that grow with the client's buffered audio.

Pure: the clock is passed in. What is held back is sent before the client can have an underrun for lack of it.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.interface.playback import FRAME_S, PlayHead
from antiphon_server.config.chat import PacketRules

_BYTES_PER_SAMPLE = 2
# Less than a microsecond of audio is the rounding of floating-point sums.
_ROUNDING_S = 1e-6


class Packetizer:
    """One stream's. `add_pcm` what was generated, send what `pop_packet` returns, then report `packet_sent`.

    The client is modelled by a `PlayHead` that is supplied by what was sent. The first packet waits until it
    is as long as `startup_buffer_s()`, but no longer than that. Afterwards nothing is held while the client
    has at most `rules.reserve_s` of buffered audio, so packets cause no underrun that single frames would
    not have caused at the same moment.
    """

    def __init__(self, rules: PacketRules, startup_buffer_s: Callable[[], float] = lambda: 0.0) -> None:
        self._rules = rules
        self._startup_buffer_s = startup_buffer_s
        self._first_at_s: float | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._sent_bytes = 0
        self._head = PlayHead()

    @property
    def held_s(self) -> float:
        return _seconds(self._held_bytes)

    def buffered_s(self, now_s: float) -> float:
        """Speech that was sent and that the client cannot have played yet."""
        return self._head.buffered_s(now_s)

    def slack_s(self, now_s: float) -> float | None:
        """As `buffered_s`; negative for as long as an underrun has lasted. None before the first packet."""
        return self._head.slack_s(now_s)

    def add_pcm(self, pcm: bytes, now_s: float) -> None:
        if self._first_at_s is None:
            self._first_at_s = now_s
        self._held.append(pcm)
        self._held_bytes += len(pcm)

    def due_in_s(self, now_s: float) -> float | None:
        """How long the held audio may still wait for more; None if nothing is held."""
        if self._first_at_s is None or not self._held:
            return None
        if not self._head.started:
            buffer_s = self._startup_buffer_s()
            return max(self._first_at_s + buffer_s - now_s, 0.0) if self.held_s < buffer_s else 0.0
        due_s = self.buffered_s(now_s) - self._rules.reserve_s
        return due_s if due_s > _ROUNDING_S else 0.0

    def pop_packet(self, now_s: float) -> bytes:
        """The audio to send now: none, or what is held, up to the longest packet."""
        if self.due_in_s(now_s) != 0.0 and (not self._head.started or self.held_s < self._wanted_s(now_s)):
            return b""
        count, seconds = 0, 0.0
        for piece in self._held:
            seconds += _seconds(len(piece))
            if count and seconds > self._rules.longest_s + FRAME_S / 2:
                break
            count += 1
        pcm = b"".join(self._held[:count])
        del self._held[:count]
        self._held_bytes -= len(pcm)
        return pcm

    def flush(self) -> bytes:
        """All held audio, however much the client has buffered."""
        pcm = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return pcm

    def packet_sent(self, now_s: float, pcm: bytes) -> None:
        """The client's socket has accepted a packet."""
        self._sent_bytes += len(pcm)
        self._head = self._head.generated(now_s, _seconds(self._sent_bytes))

    def _wanted_s(self, now_s: float) -> float:
        """The length of the next packet, less half a frame: the first frame is shorter than the others."""
        wanted_s = min(self._rules.share * self.buffered_s(now_s), self._rules.longest_s)
        return max(wanted_s - FRAME_S / 2, 0.0)


def _seconds(size: int) -> float:
    return size / _BYTES_PER_SAMPLE / OUTPUT_SAMPLE_RATE_HZ
