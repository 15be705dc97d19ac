"""Speech and tools in one request: a spoken answer, or a tool call that is not spoken."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.echo_engine import EchoEngine
from tests.server.routes.test_chat import CALL, SPOKEN, TOOLS, ask, deltas_of, said, stream

BOTH: dict[str, Any] = {**SPOKEN, "tools": TOOLS}


async def test_an_answer_without_a_call_is_spoken(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    [choice] = (await ask(client, said("hello world", **BOTH)))["choices"]
    assert choice["message"]["audio"]["transcript"] == "hello world"
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert engine.requests[-1].unspoken_from is not None


async def test_a_call_alone_is_not_spoken(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said(CALL, **BOTH))
    [choice] = answer["choices"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert (choice["message"]["content"], choice["message"].get("audio")) == (None, None)
    assert choice["finish_reason"] == "tool_calls"
    assert answer["usage"]["completion_tokens_details"]["audio_tokens"] == 0


async def test_text_before_a_call_is_spoken_and_the_call_is_not(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said(f"One moment. {CALL}", **BOTH))
    [choice] = answer["choices"]
    assert choice["message"]["audio"]["transcript"] == "One moment."
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "tool_calls"
    assert answer["usage"]["completion_tokens_details"]["audio_tokens"] == 2 * len("One moment.") // 4 + 1


async def test_a_streamed_call_has_no_audio_and_no_transcript(client: httpx.AsyncClient) -> None:
    chunks = await stream(client, said(CALL, **BOTH))
    deltas = deltas_of(chunks)
    assert [delta["tool_calls"][0]["function"]["name"] for delta in deltas if "tool_calls" in delta] == [
        "add"
    ]
    assert not [delta for delta in deltas if {"data", "transcript"} & (delta.get("audio") or {}).keys()]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_required_call_takes_no_stream_of_speech(
    client: httpx.AsyncClient, engine: EchoEngine, streamed: bool
) -> None:
    text = '{"name": "add", "arguments": {"a": 2}}'
    body = said(text, **BOTH, tool_choice="required", stream=streamed)
    assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    assert engine.requests[-1].speech is None
