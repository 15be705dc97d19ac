"""The bytes of an answer: the audio itself, or events that carry it in base64. It does no input or output."""

from __future__ import annotations

from typing import Protocol

import pybase64

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.chunks import Base64Alignment
from antiphon_server.media.wav_header import open_wav_header
from antiphon_server.openai_api.audio.speech import SpeechAudioDelta, SpeechAudioDone, SpeechUsage, SpokenWord
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.speech.reading_spec import SpeechForm


class AudioWriter(Protocol):
    """Writes one answer, in order."""

    def audio(self, encoded: bytes, words: list[TimedWord]) -> bytes:
        """More of the audio file, and the words that it completes."""

    def end(self, usage: SpeechUsage) -> bytes:
        """What follows the last of the audio."""


def audio_writer(form: SpeechForm) -> AudioWriter:
    header = open_wav_header(form.rate_hz) if form.header else b""
    return EventWriter(header, form.speed) if form.events else BareWriter(header)


class BareWriter:
    """The audio file."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def audio(self, encoded: bytes, words: list[TimedWord]) -> bytes:
        header, self._header = self._header, b""
        return header + encoded

    def end(self, usage: SpeechUsage) -> bytes:
        return b""


class EventWriter:
    """OpenAI's server-sent events. The base64 of all of them can be joined before it is decoded."""

    def __init__(self, header: bytes, speed: float) -> None:
        self._aligned = Base64Alignment()
        self._begin = header
        self._scale = 1 / (OUTPUT_SAMPLE_RATE_HZ * speed)

    def audio(self, encoded: bytes, words: list[TimedWord]) -> bytes:
        begin, self._begin = self._begin, b""
        data = self._aligned.align(begin + encoded)
        spoken = [self._word(word) for word in words]
        return self._delta(data, spoken) if data or spoken else b""

    def end(self, usage: SpeechUsage) -> bytes:
        rest = self._aligned.remainder()
        return (self._delta(rest, []) if rest else b"") + _event(SpeechAudioDone(usage=usage))

    def _delta(self, data: bytes, words: list[SpokenWord]) -> bytes:
        audio = pybase64.b64encode_as_string(data)
        return _event(SpeechAudioDelta(audio=audio, words=words or None))

    def _word(self, word: TimedWord) -> SpokenWord:
        start, end = (round(sample * self._scale, 6) for sample in (word.start, word.end))
        return SpokenWord(word=word.text, start=start, end=end)


def _event(event: ApiModel) -> bytes:
    return b"data: " + event.model_dump_json(exclude_none=True).encode() + b"\n\n"
