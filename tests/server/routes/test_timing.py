"""`stream_options.include_timing`: the last chunk tells when the request reached each stage."""

from __future__ import annotations

import json
from typing import Any

import httpx

from antiphon_server.observability import request_trace

URL = "/v1/chat/completions"


async def chunks_of(client: httpx.AsyncClient, **options: bool) -> list[dict[str, Any]]:
    message = {"role": "user", "content": "hello there"}
    body = {"messages": [message], "modalities": ["text", "audio"], "audio": {"format": "pcm16"}}
    answer = await client.post(URL, json={**body, "stream": True, "stream_options": options})
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


async def test_the_last_chunk_has_the_stages_in_their_order(client: httpx.AsyncClient) -> None:
    chunks = await chunks_of(client, include_timing=True, include_usage=True)
    assert chunks[-1]["choices"] == []
    assert "usage" in chunks[-2]
    timing = chunks[-1]["timing"]
    order = ["body_read_ms", "planned_ms", "admitted_ms", "rendered_ms", "first_text_ms", "first_packet_ms"]
    assert [name for name in timing if name in order] == order
    assert list(timing.values()) == sorted(timing.values())
    assert timing["body_read_ms"] >= 0


async def test_without_the_option_there_is_none(client: httpx.AsyncClient) -> None:
    assert not any("timing" in chunk for chunk in await chunks_of(client, include_usage=True))


def test_a_trace_for_the_client_alone_is_not_logged(caplog: Any) -> None:
    with caplog.at_level("INFO", "antiphon.milestones"):
        request_trace.RequestTrace(0.0, is_logged=False).log()
        assert not caplog.records
        request_trace.RequestTrace(0.0).log()
    assert [record.message for record in caplog.records] == ["milestones"]
