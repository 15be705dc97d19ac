"""Parser of response chunks: finds text and audio in the streaming dialects of omni servers.

OpenAI (`delta.audio`), DashScope (text in `content`, bare PCM in `audio.data`), vLLM-Omni (`modality`, a WAV
file per chunk in `content` or `audio.data`), and Antiphon's union of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import msgspec
import pybase64

from antiphon_server.bench.measure import wire
from antiphon_server.bench.measure.record import Usage

AudioField = Literal["delta.audio.data", "delta.content"]
_DEFAULT_RATE_HZ = 24_000
_SHOWN_CHARS = 120


class MalformedChunk(ValueError):
    """An event that is not a chunk of a chat completion."""


class ErrorEvent(Exception):
    """An error that the server sent as an event of the stream."""


@dataclass(frozen=True, slots=True)
class ChunkContent:
    """The content of one chunk. `pcm`: s16le, mono. `audio_field`: the JSON field that held the audio."""

    text: str = ""
    pcm: bytes = b""
    rate_hz: int = _DEFAULT_RATE_HZ
    audio_field: AudioField | None = None
    finished: bool = False
    usage: Usage | None = None


def parse_chunk(data: str) -> ChunkContent:
    """Parses the data of one event. Raises `ErrorEvent` and `MalformedChunk`."""
    try:
        chunk = wire.decode_chunk(data)
    except msgspec.DecodeError:
        raise MalformedChunk("an event is not a chunk of a chat completion") from None
    if chunk.error:
        raise ErrorEvent(error_reason(chunk.error))
    usage = _parse_usage(chunk.usage) if chunk.usage else None
    choice = chunk.choices[0] if chunk.choices else wire.Choice()
    finished = choice.finish_reason is not None
    field, encoded, text = _split_delta(choice.delta or wire.Delta(), chunk.modality)
    if not encoded:
        return ChunkContent(text, finished=finished, usage=usage)
    pcm, rate_hz = _decode_audio(encoded)
    return ChunkContent(text, pcm, rate_hz, field, finished, usage)


def error_reason(error: object) -> str:
    """The code, type or message of an error in any JSON envelope, in at most 120 characters."""
    if isinstance(error, dict):
        nested = error.get("error")
        if nested is not None:
            return error_reason(nested)
        word = error.get("code") or error.get("type") or error.get("message") or error.get("detail")
        return str(word or "error")[:_SHOWN_CHARS]
    return str(error)[:_SHOWN_CHARS]


def _split_delta(delta: wire.Delta, modality: str | None) -> tuple[AudioField, str, str]:
    """The field that holds the audio, the audio in base64, and the text."""
    audio = delta.audio or wire.Audio()
    content = delta.content if isinstance(delta.content, str) else ""
    encoded, transcript = audio.data or "", audio.transcript or ""
    if modality == "audio" and content and not encoded:
        return "delta.content", content, transcript
    # Antiphon's union dialect sends the text in both fields.
    return "delta.audio.data", encoded, content or transcript


def _decode_audio(encoded: str) -> tuple[bytes, int]:
    try:
        data = pybase64.b64decode(encoded, validate=True)
    except ValueError:
        raise MalformedChunk("audio is not base64") from None
    return _parse_wav(data) if data[:4] == b"RIFF" and data[8:12] == b"WAVE" else (data, _DEFAULT_RATE_HZ)


def _parse_wav(data: bytes) -> tuple[bytes, int]:
    """The first channel and the sample rate of a WAV file; its stated length may exceed the data."""
    channels, rate_hz, at = 1, _DEFAULT_RATE_HZ, 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt " and at + 16 <= len(data):
            _, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", data, at)
            if bits != 16 or not channels or not rate_hz:
                raise MalformedChunk(f"audio is WAV of {bits} bits and {channels} channels")
        elif name == b"data":
            return _first_channel(data[at : at + size], channels), rate_hz
        at += size + size % 2
    raise MalformedChunk("a WAV file holds no audio")


def _first_channel(pcm: bytes, channels: int) -> bytes:
    if channels == 1:
        return pcm
    whole = len(pcm) - len(pcm) % (2 * channels)
    samples = memoryview(pcm[:whole]).cast("h")
    return samples[::channels].tobytes()


def _parse_usage(counts: wire.TokenCounts) -> Usage:
    prompt = counts.prompt_tokens_details or wire.InputDetails()
    completion = counts.completion_tokens_details or wire.OutputDetails()
    return Usage(
        input_tokens=counts.prompt_tokens or 0,
        input_audio_tokens=prompt.audio_tokens or 0,
        output_tokens=counts.completion_tokens or 0,
        output_audio_tokens=completion.audio_tokens or 0,
    )
