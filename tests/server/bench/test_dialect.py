"""Text and audio are found in every known dialect; anything else raises."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from antiphon_server.bench.load.attachments import wav_file
from antiphon_server.bench.measure.dialect import (
    ChunkContent,
    ErrorEvent,
    MalformedChunk,
    error_reason,
    parse_chunk,
)
from antiphon_server.bench.measure.record import Usage
from tests.server.bench.raw_server import b64, pcm

PCM = pcm(0.08)


def piece(delta: dict[str, Any], **top: Any) -> ChunkContent:
    return parse_chunk(json.dumps({"choices": [{"delta": delta}], **top}))


@pytest.mark.parametrize(
    ("delta", "top", "place"),
    [
        ({"audio": {"data": b64(PCM)}}, {}, "delta.audio.data"),
        ({"audio": {"data": b64(PCM), "expires_at": 1}}, {"modality": "audio"}, "delta.audio.data"),
        ({"content": b64(PCM)}, {"modality": "audio"}, "delta.content"),
        ({"content": b64(wav_file(PCM, 24_000))}, {"modality": "audio"}, "delta.content"),
        ({"audio": {"data": b64(wav_file(PCM, 24_000))}}, {"modality": "audio"}, "delta.audio.data"),
    ],
    ids=["openai, dashscope", "union", "vllm-omni, bare", "vllm-omni, wav in content", "vllm-omni, wav"],
)
def test_audio_is_found(delta: dict[str, Any], top: dict[str, Any], place: str) -> None:
    found = piece(delta, **top)
    assert (found.pcm, found.rate_hz, found.audio_field, found.text) == (PCM, 24_000, place, "")


@pytest.mark.parametrize(
    ("delta", "top"),
    [
        ({"audio": {"transcript": "word"}}, {}),
        ({"content": "word"}, {}),
        ({"content": "word", "audio": {"transcript": "word"}}, {"modality": "text"}),
        ({"content": "word"}, {"modality": "text"}),
    ],
    ids=["openai", "dashscope", "union", "vllm-omni"],
)
def test_text_is_found_once(delta: dict[str, Any], top: dict[str, Any]) -> None:
    found = piece(delta, **top)
    assert (found.text, found.pcm) == ("word", b"")


def test_a_wave_file_brings_its_rate_and_its_first_channel() -> None:
    stereo = struct.pack("<4h", 1, -1, 2, -2)
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 2, 16_000, 64_000, 4, 16)
    # Written while it grew: its length was not known.
    endless = head + struct.pack("<4sI", b"data", 0xFFFFFFFF) + stereo
    found = piece({"audio": {"data": b64(endless)}})
    assert (found.pcm, found.rate_hz) == (struct.pack("<2h", 1, 2), 16_000)


def test_a_chunk_without_choices_brings_usage() -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"audio_tokens": 5}}
    counts["prompt_tokens_details"] = {"audio_tokens": 4, "cached_tokens": None}
    found = parse_chunk(json.dumps({"choices": [], "usage": counts}))
    assert found.usage == Usage(9, 4, 7, 5)
    assert found.usage.text_tokens == 2


def test_the_finish_reason_ends_an_answer() -> None:
    assert parse_chunk('{"choices": [{"delta": {}, "finish_reason": "stop"}]}').finished
    assert not piece({"role": "assistant", "content": None}).finished


@pytest.mark.parametrize(
    "data",
    ["{", "[]", '"x"', '{"choices": [3]}', '{"choices": [{"delta": {"audio": {"data": "!"}}}]}'],
)
def test_an_event_that_is_no_chunk_raises(data: str) -> None:
    with pytest.raises(MalformedChunk):
        parse_chunk(data)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"error": {"message": "m", "code": "queue_full", "type": "t"}}, "queue_full"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": [{"loc": 1}]}, "[{'loc': 1}]"),
        ({"code": 40303, "message": "m"}, "40303"),
    ],
    ids=["openai", "vllm", "fastapi", "dashscope"],
)
def test_errors_of_any_envelope_are_named(error: dict[str, Any], reason: str) -> None:
    assert error_reason(error) == reason


def test_an_error_in_the_stream_is_raised() -> None:
    with pytest.raises(ErrorEvent, match="engine_dead"):
        parse_chunk('{"error": {"code": "engine_dead", "message": "m"}}')
