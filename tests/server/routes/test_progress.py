"""`stream_options.include_progress`: chunks without choices while a long prompt is read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from antiphon_executor.interface.events import PromptProgress
from antiphon_server.chat.response.progress import ProgressMeter
from tests.echo_engine import EchoEngine, Script

URL = "/v1/chat/completions"
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


async def chunks_of(client: httpx.AsyncClient, options: dict[str, Any]) -> list[dict[str, Any]]:
    content = [SOUND, {"type": "text", "text": "hello"}]
    body = {"messages": [{"role": "user", "content": content}], "stream": True, "stream_options": options}
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


async def test_progress_comes_before_the_text(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(progress=(5, 10), delays_s={1: 0.05})
    chunks = await chunks_of(client, {"include_progress": True, "include_usage": True})
    found = [chunk["progress"] for chunk in chunks if "progress" in chunk]
    total = chunks[-1]["usage"]["prompt_tokens"]
    assert [one["prefilled_tokens"] for one in found] == [5, 10]
    assert all(one["prompt_tokens"] == total and one["decoded_seconds"] == 1.0 for one in found)
    assert found[0]["eta_seconds"] is None
    assert 0 < found[1]["eta_seconds"] < 60
    assert all(chunk["choices"] == [] for chunk in chunks if "progress" in chunk)
    texts = [
        number for number, chunk in enumerate(chunks)
        if chunk["choices"] and chunk["choices"][0]["delta"].get("content")
    ]  # fmt: skip
    assert max(n for n, chunk in enumerate(chunks) if "progress" in chunk) < min(texts)


async def test_without_the_option_there_is_none(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(progress=(5, 10))
    for options in ({}, {"include_usage": True}, {"include_progress": False}):
        assert not any("progress" in chunk for chunk in await chunks_of(client, options))


async def test_a_whole_answer_has_none(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(progress=(5, 10))
    answer = await client.post(URL, json={"messages": [{"role": "user", "content": "hello"}]})
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


def test_the_rate_is_that_since_the_first_event() -> None:
    meter = ProgressMeter()
    assert meter.read(PromptProgress(1_000, 11_000), 50.0, 100.0).eta_seconds is None
    progress = meter.read(PromptProgress(3_000, 11_000), 54.0, 100.0)
    assert progress.eta_seconds == pytest.approx(16.0)
    assert progress.prefilled_seconds == pytest.approx(27.3)
