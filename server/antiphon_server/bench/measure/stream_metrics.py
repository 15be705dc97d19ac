"""The metrics of one streamed answer, computed from its events and their arrival times."""

from __future__ import annotations

from antiphon_server.bench.measure.dialect import AudioField, parse_chunk
from antiphon_server.bench.measure.player import Player
from antiphon_server.bench.measure.record import Usage

_DONE = "[DONE]"
_SAMPLE_BYTES = 2


class StreamMetrics:
    """Collects one answer. All times are on one clock, in seconds. `keep_pcm`: also collect `pcm`."""

    def __init__(self, start_buffer_s: float, *, keep_pcm: bool = False) -> None:
        self._player = Player(start_buffer_s)
        self._keep_pcm = keep_pcm
        self._odd_byte = b""
        self._first_packet_s = 0.0
        self._last_audio_at: float | None = None
        self.first_text_at: float | None = None
        self.first_audio_at: float | None = None
        self.text_pieces = 0
        self.text: list[str] = []
        self.pcm = bytearray()
        self.rate_hz = 24_000
        self.audio_field: AudioField | None = None
        self.usage: Usage | None = None
        self.is_complete = False

    def add_event(self, data: str, at: float) -> None:
        """Adds the data of one event that arrived at `at`. Raises `ErrorEvent` and `MalformedChunk`."""
        if data == _DONE:
            self.is_complete = True
            return
        content = parse_chunk(data)
        self.usage = content.usage or self.usage
        self.is_complete = self.is_complete or content.finished
        if content.text:
            self.first_text_at = at if self.first_text_at is None else self.first_text_at
            self.text_pieces += 1
            self.text.append(content.text)
        if content.pcm:
            self.audio_field = content.audio_field
            self._add_audio(content.pcm, content.rate_hz, at)

    @property
    def player(self) -> Player | None:
        """The virtual player; None if no audio arrived."""
        return None if self.first_audio_at is None else self._player

    @property
    def received_s(self) -> float:
        return self._player.received_s

    def rtf(self, since: float) -> float | None:
        """Time from `since` to the last packet, divided by the length of all audio."""
        if self._last_audio_at is None or not self.received_s:
            return None
        return (self._last_audio_at - since) / self.received_s

    def speech_rtf(self) -> float | None:
        """Time from the first packet to the last, divided by the length of the audio after the first."""
        later_s = self.received_s - self._first_packet_s
        if self.first_audio_at is None or self._last_audio_at is None or later_s <= 0:
            return None
        return (self._last_audio_at - self.first_audio_at) / later_s

    def _add_audio(self, pcm: bytes, rate_hz: int, at: float) -> None:
        pcm = self._odd_byte + pcm
        whole = len(pcm) - len(pcm) % _SAMPLE_BYTES
        self._odd_byte, pcm = pcm[whole:], pcm[:whole]
        seconds = len(pcm) / _SAMPLE_BYTES / rate_hz
        self._player.add_packet(at, seconds)
        if self.first_audio_at is None:
            self.first_audio_at, self._first_packet_s = at, seconds
        self._last_audio_at, self.rate_hz = at, rate_hz
        if self._keep_pcm:
            self.pcm += pcm
