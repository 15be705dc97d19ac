"""`ignore_eos`, `min_tokens` and `stop_token_ids`, as vLLM's clients and benchmark tools send them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.echo_engine import EchoEngine

URL = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "eight ch"}]
# What `vllm bench serve --backend openai-chat --ignore-eos --temperature 0` sends, and GuideLLM and AIPerf.
TOOLS: dict[str, dict[str, Any]] = {
    "vllm bench": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "eight ch"}]}],
        "max_completion_tokens": 12,
        "ignore_eos": True,
        "temperature": 0.0,
        "repetition_penalty": 1.0,
    },
    "guidellm": {
        "messages": HELLO,
        "max_tokens": 12,
        "max_completion_tokens": 12,
        "ignore_eos": True,
        "stop": None,
    },
    "aiperf": {"messages": HELLO, "max_completion_tokens": 12, "min_tokens": 12, "ignore_eos": True},
}


async def tokens_of(client: httpx.AsyncClient, body: dict[str, Any]) -> int:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["usage"]["completion_tokens"])


@pytest.mark.parametrize("body", TOOLS.values(), ids=TOOLS)
async def test_what_a_benchmark_tool_sends_is_accepted_and_answered_in_full(
    client: httpx.AsyncClient, engine: EchoEngine, body: dict[str, Any]
) -> None:
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    assert (await client.post(URL, json=streamed)).status_code == 200
    assert await tokens_of(client, body) == 12
    assert engine.requests[-1].text.ignore_eos


async def test_without_them_the_text_ends_by_itself(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    assert await tokens_of(client, {"messages": HELLO, "max_tokens": 12}) == 2
    text = engine.requests[-1].text
    assert (text.ignore_eos, text.min_tokens, text.stop_token_ids) == (False, 0, ())


async def test_they_reach_the_engine(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    body = {"messages": HELLO, "max_tokens": 9, "min_tokens": 9, "stop_token_ids": [5, 6]}
    assert await tokens_of(client, body) == 9
    text = engine.requests[-1].text
    assert (text.min_tokens, text.max_tokens, text.stop_token_ids) == (9, 9, (5, 6))


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_more_tokens_than_the_limit_are_refused(client: httpx.AsyncClient, limit: str) -> None:
    answer = await client.post(URL, json={"messages": HELLO, "min_tokens": 9, limit: 8})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "min_tokens")
    assert "9" in error["message"]
    assert "8" in error["message"]
