"""Where text and sound stand in the chunks of an omni endpoint, whoever wrote it.

In: the data of one event. Out: a `Piece` of the answer, or the error it carries. Pure.
Known: OpenAI (`delta.audio`), DashScope (text in `content`, bare PCM in `audio.data`), vLLM-Omni (`modality`,
a WAV file a chunk, in `content` or `audio.data`), and our union of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import msgspec
import pybase64

from antiphon_server.bench.measure import wire
from antiphon_server.bench.measure.record import Usage

Place = Literal["delta.audio.data", "delta.content"]
_DEFAULT_RATE_HZ = 24_000


class MalformedChunk(ValueError):
    """No chunk of a chat completion."""


class ErrorEvent(Exception):
    """The server ended the stream with an error of its own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk brought. `pcm`: s16le, mono. `place`: where the sound stood."""

    text: str = ""
    pcm: bytes = b""
    rate_hz: int = _DEFAULT_RATE_HZ
    place: Place | None = None
    finished: bool = False
    usage: Usage | None = None


def read_piece(data: bytes) -> Piece:
    """Raises `ErrorEvent` and `MalformedChunk`."""
    try:
        chunk = wire.read_chunk(data)
    except msgspec.DecodeError:
        raise MalformedChunk("an event is no chunk of a chat completion") from None
    if chunk.error:
        raise ErrorEvent(reason_of(chunk.error))
    usage = _read_usage(chunk.usage) if chunk.usage else None
    choice = chunk.choices[0] if chunk.choices else wire.Choice()
    finished = choice.finish_reason is not None
    place, encoded, text = _look(choice.delta or wire.Delta(), chunk.modality)
    if not encoded:
        return Piece(text, finished=finished, usage=usage)
    pcm, rate_hz = _read_sound(encoded)
    return Piece(text, pcm, rate_hz, place, finished, usage)


def reason_of(error: object) -> str:
    """An error in any envelope, as a short word or sentence."""
    if isinstance(error, dict):
        nested = error.get("error")
        if nested is not None:
            return reason_of(nested)
        word = error.get("code") or error.get("type") or error.get("message") or error.get("detail")
        return str(word or "error")[:120]
    return str(error)[:120]


def _look(delta: wire.Delta, modality: str | None) -> tuple[Place, str, str]:
    """Where the sound stands, the sound in base64, and the text."""
    audio = delta.audio or wire.Audio()
    content = delta.content if isinstance(delta.content, str) else ""
    encoded, transcript = audio.data or "", audio.transcript or ""
    if modality == "audio" and content and not encoded:
        return "delta.content", content, transcript
    # Our union dialect says its text twice.
    return "delta.audio.data", encoded, content or transcript


def _read_sound(encoded: str) -> tuple[bytes, int]:
    try:
        data = pybase64.b64decode(encoded, validate=True)
    except ValueError:
        raise MalformedChunk("sound is not base64") from None
    return _read_wave(data) if data[:4] == b"RIFF" and data[8:12] == b"WAVE" else (data, _DEFAULT_RATE_HZ)


def _read_wave(data: bytes) -> tuple[bytes, int]:
    """The first channel of a whole WAV file, or of one whose length was not known when it began."""
    channels, rate_hz, at = 1, _DEFAULT_RATE_HZ, 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt " and at + 16 <= len(data):
            _, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", data, at)
            if bits != 16 or not channels or not rate_hz:
                raise MalformedChunk(f"sound is WAV of {bits} bits and {channels} channels")
        elif name == b"data":
            return _first_channel(data[at : at + size], channels), rate_hz
        at += size + size % 2
    raise MalformedChunk("a WAV file holds no sound")


def _first_channel(pcm: bytes, channels: int) -> bytes:
    if channels == 1:
        return pcm
    whole = len(pcm) - len(pcm) % (2 * channels)
    samples = memoryview(pcm[:whole]).cast("h")
    return samples[::channels].tobytes()


def _read_usage(counts: wire.TokenCounts) -> Usage:
    asked = counts.prompt_tokens_details or wire.InputDetails()
    given = counts.completion_tokens_details or wire.OutputDetails()
    return Usage(
        input_tokens=counts.prompt_tokens or 0,
        input_audio_tokens=asked.audio_tokens or 0,
        output_tokens=counts.completion_tokens or 0,
        output_audio_tokens=given.audio_tokens or 0,
    )
