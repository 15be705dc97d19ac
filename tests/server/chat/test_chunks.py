"""Chunks: OpenAI's shapes to the letter, base64 that can be concatenated, and three dialects."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.events import (
    OmniEvent,
    PromptCounted,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.chunks import Base64Alignment, ChunkWriter
from antiphon_server.chat.usage import UsageMeter
from tests.server.chat import events

pytestmark = pytest.mark.promise("R20")

HEAD = AnswerHead("chatcmpl-1", "echo", 1_700_000_000, "audio_1", 1_700_003_600)
SPOKEN = (
    PromptCounted(5, 2, 0, 0, 1),
    TextDelta(0, "Hi ", 1),
    SpeechDelta(b"\0\1" * 1365, 1, 1),
    TextDelta(0, "you", 1),
    TextEnded(0, "stop"),
    SpeechDelta(b"\2\3" * 1920, 1, 2),
    SpeechEnded("stop", 2),
)


def form(**changes: Any) -> AnswerForm:
    plain: dict[str, Any] = {
        "stream": True, "dialect": "openai", "speaks": False, "audio_format": "pcm16", "choices": 1,
        "tool_use": "none", "include_usage": False, "continuous_usage": False,
    }  # fmt: skip
    return AnswerForm(**plain | changes)


def chunks_of(form: AnswerForm, *told: OmniEvent) -> list[dict[str, Any]]:
    meter = UsageMeter()
    writer = ChunkWriter(HEAD, form, meter)
    chunks = writer.first_chunks()
    for event in told:
        events.count(meter, event)
        chunks += events.chunks_of(writer, event)
    return [json.loads(chunk.to_json()) for chunk in [*chunks, *writer.last_chunks()]]


def deltas_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def fields_of(delta: dict[str, Any]) -> list[str]:
    return [f"audio.{key}" for key in delta["audio"]] if "audio" in delta else list(delta)


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_every_piece_but_the_last_is_a_multiple_of_six_bytes(pieces: list[bytes]) -> None:
    aligned = Base64Alignment()
    out = [piece for piece in (aligned.align(data) for data in pieces) if piece]
    rest = aligned.remainder()
    assert all(len(piece) % 6 == 0 for piece in out)
    assert b"".join([*out, rest]) == b"".join(pieces)
    assert len(rest) < 6


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=10))
def test_concatenated_base64_decodes_to_the_whole_speech(pieces: list[bytes]) -> None:
    events = [SpeechDelta(pcm, 1, 0) for pcm in pieces]
    chunks = chunks_of(form(speaks=True), *events, TextEnded(0, "stop"), SpeechEnded("stop", len(pieces)))
    joined = "".join(delta.get("audio", {}).get("data", "") for delta in deltas_of(chunks))
    assert base64.b64decode(joined, validate=True) == b"".join(pieces)


def test_a_spoken_answer_in_openais_dialect() -> None:
    chunks = chunks_of(form(speaks=True, include_usage=True), *SPOKEN)
    assert [fields_of(delta) for delta in deltas_of(chunks)] == [
        ["role", "refusal"],
        ["audio.id"],
        ["audio.transcript"],
        ["audio.data"],
        ["audio.transcript"],
        ["audio.data"],
        ["audio.expires_at"],
        [],
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 7 + ["stop"]
    assert all(chunk["usage"] is None and "modality" not in chunk for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens_details"] == {
        "text_tokens": 2, "audio_tokens": 2, "reasoning_tokens": 0,
    }  # fmt: skip


def test_a_spoken_answer_in_dashscopes_dialect_has_its_text_in_content() -> None:
    deltas = deltas_of(chunks_of(form(speaks=True, dialect="dashscope"), *SPOKEN))
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hi you"
    assert not any("transcript" in delta.get("audio", {}) for delta in deltas)


def test_the_union_dialect_says_everything_twice_and_names_the_modality() -> None:
    chunks = chunks_of(form(speaks=True, dialect="union"), *SPOKEN)
    texts = [chunk for chunk in chunks if "content" in chunk["choices"][0]["delta"]]
    assert [(c["modality"], c["choices"][0]["delta"]) for c in texts] == [
        ("text", {"content": "Hi ", "audio": {"transcript": "Hi "}}),
        ("text", {"content": "you", "audio": {"transcript": "you"}}),
    ]
    sounds = [chunk for chunk in chunks if "data" in chunk["choices"][0]["delta"].get("audio", {})]
    assert {chunk["modality"] for chunk in sounds} == {"audio"}


def test_each_choice_of_a_text_answer_finishes_for_itself() -> None:
    chunks = chunks_of(
        form(choices=2),
        TextDelta(1, "b", 1),
        TextEnded(1, "length"),
        TextDelta(0, "a", 1),
        TextEnded(0, "stop"),
    )
    said = [(c["choices"][0]["index"], c["choices"][0]["finish_reason"]) for c in chunks]
    assert said == [(0, None), (1, None), (1, None), (1, "length"), (0, None), (0, "stop")]


@pytest.mark.parametrize(("text_end", "speech_end"), [("length", "stop"), ("stop", "length")])
def test_an_answer_that_was_cut_in_either_half_says_so(text_end: Any, speech_end: Any) -> None:
    chunks = chunks_of(form(speaks=True), TextEnded(0, text_end), SpeechEnded(speech_end, 1))
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_logprobs_are_kept_where_the_text_is_held_back() -> None:
    logprob = TokenLogprob("<tool", b"<tool", -0.1, (TokenLogprob("x", b"x", -2.0),))
    chunks = chunks_of(form(tool_use="many"), TextDelta(0, "<tool", 1, (logprob,)), TextEnded(0, "stop"))
    assert chunks[1]["choices"][0]["logprobs"]["content"][0]["token"] == "<tool"
    assert "".join(delta.get("content") or "" for delta in deltas_of(chunks)) == "<tool"


def test_continuous_usage_stands_in_every_chunk() -> None:
    chunks = chunks_of(form(include_usage=True, continuous_usage=True), *SPOKEN[:2], TextEnded(0, "stop"))
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 1, 1, 1]
