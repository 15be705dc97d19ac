"""The fields of a chat completion chunk that the benchmark reads, in all dialects.

Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Audio(msgspec.Struct):
    data: str | None = None
    transcript: str | None = None


class Delta(msgspec.Struct):
    """`content` is text, or base64 audio if the chunk's `modality` is `audio`, or another JSON value."""

    content: Any = None
    audio: Audio | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None


class InputDetails(msgspec.Struct):
    audio_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    audio_tokens: int | None = None


class TokenCounts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    modality: str | None = None
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
