"""Answers of the stock `openai` client, complete or streamed, in one data type."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import openai

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from tests.e2e.server_process import MODEL

# The decoder's transposed convolutions look this far ahead, so the first frame is that much shorter.
LOOK_AHEAD_SAMPLES = 555
SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "wav"}}
STREAMED: dict[str, Any] = {
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
    "stream_options": {"include_usage": True},
}


@dataclass(frozen=True)
class Answer:
    """`pcm`: s16le at 24 kHz; `usage`, `words` and how fine their times are: as they came."""

    text: str
    pcm: bytes
    finish_reason: str
    usage: Any
    words: tuple[dict[str, Any], ...] = ()
    granularity: str | None = None

    @property
    def frames(self) -> float:
        return (len(self.pcm) / 2 + LOOK_AHEAD_SAMPLES) / SAMPLES_PER_FRAME if self.pcm else 0

    def assert_timed(self) -> None:
        """The whole text, once, in times that never go back, inside the sound."""
        assert "".join(word["word"] for word in self.words) == self.text
        times = [(word["start"], word["end"]) for word in self.words]
        assert all(start <= end for start, end in times)
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(times))
        assert times[0][0] >= 0
        assert times[-1][1] <= len(self.pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ + 1e-6


def timed(form: dict[str, Any], **audio: Any) -> dict[str, Any]:
    """The form of an answer whose words are timed."""
    return {**form, "audio": {**form["audio"], "timestamp_granularities": ["word"], **audio}}


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def ask(client: openai.OpenAI, messages: list[dict[str, Any]], **options: Any) -> Answer:
    """One answer, streamed where `options` say so. Greedy and a dozen tokens by default."""
    request = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 12, **options}
    create: Any = client.chat.completions.create
    return _streamed(create(**request)) if options.get("stream") else _whole(create(**request))


def samples_of(wav: bytes) -> bytes:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        return file.readframes(file.getnframes())


def _whole(completion: Any) -> Answer:
    choice = completion.choices[0]
    audio = choice.message.audio
    if audio is None:
        return Answer(choice.message.content, b"", choice.finish_reason, completion.usage)
    pcm = samples_of(base64.b64decode(audio.data))
    words, granularity = getattr(audio, "words", ()), getattr(audio, "timestamp_granularity", None)
    return Answer(audio.transcript, pcm, choice.finish_reason, completion.usage, tuple(words), granularity)


def _streamed(chunks: Any) -> Answer:
    text, sound, finish_reason, usage = "", "", "", None
    words: list[dict[str, Any]] = []
    granularity = None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish_reason = choice.finish_reason or finish_reason
            audio = choice.delta.audio
            text += (audio.transcript if audio else choice.delta.content) or ""
            sound += (audio.data if audio else None) or ""
            words += getattr(audio, "words", None) or ()
            granularity = getattr(audio, "timestamp_granularity", None) or granularity
    return Answer(text, base64.b64decode(sound), finish_reason, usage, tuple(words), granularity)
