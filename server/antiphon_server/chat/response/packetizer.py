"""How much speech goes out at once: an opening, then packets that grow with what the client has.

In: pieces of speech as they are made, and when. Out: which of them go out now, and when to look again.
Pure: the clock is passed in. What is held back is sent before the client could miss it.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from antiphon_server.config.chat import PacketRules

_BYTES_PER_SAMPLE = 2
_FRAME_S = SAMPLES_PER_FRAME / OUTPUT_SAMPLE_RATE_HZ


class Packetizer:
    """One stream's. `add` what was made, `take` what is to go out, `sent` when it has.

    A client plays from the first packet on, in real time, and stands where it has played all. The first
    packet waits until it is as long as `opening_s` says at that time, but no longer. Afterwards, while
    the client has `reserve_s` or less in hand, nothing is held: a client that runs dry would have run
    dry with single frames too, at the same moments.
    """

    def __init__(self, rules: PacketRules, opening_s: Callable[[], float] = lambda: 0.0) -> None:
        self._rules = rules
        self._opening_s = opening_s
        self._first_at_s: float | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ends_s: float | None = None

    @property
    def held_s(self) -> float:
        return _seconds(self._held_bytes)

    def lead_s(self, now_s: float) -> float:
        """Speech that the client has been sent and cannot have played yet."""
        return max(self._ends_s - now_s, 0.0) if self._ends_s is not None else 0.0

    def add(self, pcm: bytes, now_s: float) -> None:
        if self._first_at_s is None:
            self._first_at_s = now_s
        self._held.append(pcm)
        self._held_bytes += len(pcm)

    def due_in_s(self, now_s: float) -> float | None:
        """How long what is held may still wait for company; None where nothing is held."""
        if self._first_at_s is None or not self._held:
            return None
        if self._ends_s is None:
            opening_s = self._opening_s()
            return max(self._first_at_s + opening_s - now_s, 0.0) if self.held_s < opening_s else 0.0
        return max(self.lead_s(now_s) - self._rules.reserve_s, 0.0)

    def take(self, now_s: float) -> bytes:
        """What is to go out now: nothing, or what is held, up to the longest packet."""
        if self.due_in_s(now_s) != 0.0 and (self._ends_s is None or self.held_s < self._wanted_s(now_s)):
            return b""
        count, seconds = 0, 0.0
        for piece in self._held:
            seconds += _seconds(len(piece))
            if count and seconds > self._rules.longest_s + _FRAME_S / 2:
                break
            count += 1
        pcm = b"".join(self._held[:count])
        del self._held[:count]
        self._held_bytes -= len(pcm)
        return pcm

    def flush(self) -> bytes:
        """Everything held, whatever the client has in hand."""
        pcm = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return pcm

    def slack_s(self, now_s: float) -> float | None:
        """Speech left in the client's hand, or, negative, for how long it has had none; None before any."""
        return None if self._ends_s is None else self._ends_s - now_s

    def sent(self, now_s: float, pcm: bytes) -> None:
        """The client's socket has taken a packet."""
        begin_s = now_s if self._ends_s is None else max(self._ends_s, now_s)
        self._ends_s = begin_s + _seconds(len(pcm))

    def _wanted_s(self, now_s: float) -> float:
        """Whole frames, but for the first one's missing look-ahead: less than half of one is forgiven."""
        wanted_s = min(self._rules.share * self.lead_s(now_s), self._rules.longest_s)
        return max(wanted_s - _FRAME_S / 2, 0.0)


def _seconds(size: int) -> float:
    return size / _BYTES_PER_SAMPLE / OUTPUT_SAMPLE_RATE_HZ
