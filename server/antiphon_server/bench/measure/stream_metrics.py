"""One answer, listened to: events and their times → what was measured of it.

In: the data of events, each with the time its bytes arrived. Out: the figures of a `StreamRecord`. Pure.
"""

from __future__ import annotations

from antiphon_server.bench.measure.dialect import Place, read_piece
from antiphon_server.bench.measure.player import Player
from antiphon_server.bench.measure.record import Usage

_DONE = b"[DONE]"
_BYTES_A_SAMPLE = 2


class StreamMetrics:
    """All times of one clock. `sound` is filled only where somebody will judge it."""

    def __init__(self, start_buffer_s: float, *, keeps_sound: bool = False) -> None:
        self._player = Player(start_buffer_s)
        self._keeps_sound = keeps_sound
        self._odd_byte = b""
        self._first_packet_s = 0.0
        self._last_sound_at: float | None = None
        self.first_text_at: float | None = None
        self.first_sound_at: float | None = None
        self.text_pieces = 0
        self.text: list[str] = []
        self.sound = bytearray()
        self.rate_hz = 24_000
        self.place: Place | None = None
        self.usage: Usage | None = None
        self.is_complete = False

    def see(self, data: bytes, at: float) -> None:
        """Raises `ErrorEvent` and `MalformedChunk`."""
        if data == _DONE:
            self.is_complete = True
            return
        piece = read_piece(data)
        self.usage = piece.usage or self.usage
        self.is_complete = self.is_complete or piece.finished
        if piece.text:
            self.first_text_at = at if self.first_text_at is None else self.first_text_at
            self.text_pieces += 1
            self.text.append(piece.text)
        if piece.pcm:
            self.place = piece.place
            self._hear(piece.pcm, piece.rate_hz, at)

    @property
    def player(self) -> Player | None:
        """None where nothing was heard."""
        return None if self.first_sound_at is None else self._player

    @property
    def heard_s(self) -> float:
        return self._player.heard_s

    def rtf(self, since: float) -> float | None:
        """From `since` to the last packet, over the length of all sound."""
        if self._last_sound_at is None or not self.heard_s:
            return None
        return (self._last_sound_at - since) / self.heard_s

    def speech_rtf(self) -> float | None:
        """From the first packet to the last, over the length of what came after the first."""
        later_s = self.heard_s - self._first_packet_s
        if self.first_sound_at is None or self._last_sound_at is None or later_s <= 0:
            return None
        return (self._last_sound_at - self.first_sound_at) / later_s

    def _hear(self, pcm: bytes, rate_hz: int, at: float) -> None:
        pcm = self._odd_byte + pcm
        whole = len(pcm) - len(pcm) % _BYTES_A_SAMPLE
        self._odd_byte, pcm = pcm[whole:], pcm[:whole]
        seconds = len(pcm) / _BYTES_A_SAMPLE / rate_hz
        self._player.hear(at, seconds)
        if self.first_sound_at is None:
            self.first_sound_at, self._first_packet_s = at, seconds
        self._last_sound_at, self.rate_hz = at, rate_hz
        if self._keeps_sound:
            self.sound += pcm
