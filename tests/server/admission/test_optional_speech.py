"""Without a free stream, optional speech falls back to text and required speech is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.parts import make_service

URL = "/v1/chat/completions"
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}, "stream": True}


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **SPOKEN, **fields}


@pytest.fixture
def full(service: Service, engine: EchoEngine) -> Service:
    """One stream without a queue, and room for text. A request that says "hold" keeps the stream."""
    engine.cues["hold"] = Script(hang_at=2)
    admission = AdmissionController(Capacity(8, 1, 0, 100.0, 5.0, 1 << 20))
    service.metrics.watch_load(lambda: admission.load)
    return replace(service, admission=admission)


@pytest.fixture
async def caller(full: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose only stream is in use."""
    app = create_app(full)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        Exchange(app, said("hold")),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert await becomes_true(lambda: full.admission.load.running.streams == 1)
        yield client


async def test_optional_speech_falls_back_to_text(caller: httpx.AsyncClient, full: Service) -> None:
    answer = await caller.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert answer.status_code == 200
    message = answer.json()["choices"][0]["message"]
    assert (message["content"], message.get("audio")) == ("hello there", None)
    assert "antiphon_admission_softened_total 1.0" in full.metrics.render().decode()


async def test_a_streamed_answer_falls_back_too(caller: httpx.AsyncClient) -> None:
    answer = await caller.post(URL, json=said("hello there", speech_optional=True))
    assert '"content":"hell"' in answer.text
    assert '"audio"' not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_required_speech_is_refused_with_retry_after(caller: httpx.AsyncClient, full: Service) -> None:
    answer = await caller.post(URL, json=said("hello there"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after-ms"]) >= 500
    assert 'antiphon_admission_refused_total{reason="queue_full"} 1.0' in full.metrics.render().decode()


async def test_optional_speech_does_not_wait_for_a_stream(service: Service, engine: EchoEngine) -> None:
    """The queue has its default size: 64 places, 30 s."""
    engine.cues["hold"] = Script(hang_at=2)
    admission = AdmissionController(Capacity(8, 1, 64, 100.0, 30.0, 1 << 20))
    app = create_app(replace(service, admission=admission))
    async with Exchange(app, said("hold")):
        assert await becomes_true(lambda: admission.load.running.streams == 1)
        optional = [
            said(f"hello {number}", speech_optional=True, stream=number % 2 > 0) for number in range(6)
        ]
        async with AsyncExitStack() as clients:
            calls = [await clients.enter_async_context(Exchange(app, one)) for one in optional]
            assert await becomes_true(lambda: all(one.task.done() for one in calls))
            assert [(one.status, b'"audio":{' in one.body) for one in calls] == [(200, False)] * 6
        assert (admission.load.fell_back, admission.load.refused) == (6, {})


async def test_of_many_optional_requests_as_many_speak_as_there_are_streams(
    service: Service, engine: EchoEngine
) -> None:
    """A stream is chosen and reserved in one step, so that none is used twice and none stays unused."""
    engine.script = Script(hang_at=2)
    admission = AdmissionController(Capacity(8, 3, 64, 100.0, 30.0, 1 << 20))
    app = create_app(replace(service, admission=admission))
    async with AsyncExitStack() as clients:
        for _ in range(8):
            await clients.enter_async_context(Exchange(app, said("hello there", speech_optional=True)))
        assert await becomes_true(lambda: engine.running == 8)
        assert (admission.load.running.streams, admission.load.fell_back) == (3, 5)


async def test_optional_speech_is_text_while_the_talker_restarts(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.lose("talker")
    answer = await client.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hello there")
    refused = await client.post(URL, json=said("hello there", stream=False))
    assert refused.status_code == 503


async def test_text_is_served_while_all_streams_are_taken(caller: httpx.AsyncClient) -> None:
    answer = await caller.post(URL, json=said("hello", modalities=["text"], stream=False, audio=None))
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


async def test_optional_speech_is_spoken_if_a_stream_is_free(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert answer.json()["choices"][0]["message"]["audio"]["transcript"] == "hello there"


async def test_a_flooding_key_is_evicted_for_another_key(checkpoint: Path, engine: EchoEngine) -> None:
    """One key holds all slots and all places in the queue; the other key is still admitted."""
    engine.cues["hold"] = Script(hang_at=2)
    keys = (SecretStr("flooding-key"), SecretStr("calm-key"))
    service = make_service(checkpoint, engine, server={"api_keys": keys})
    admission = AdmissionController(Capacity(2, 2, 3, 100.0, 5.0, 1 << 20, requests_per_key=1))
    app = create_app(replace(service, admission=admission))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        AsyncExitStack() as flood,
    ):
        for _ in range(5):
            await flood.enter_async_context(Exchange(app, said("hold"), key="flooding-key"))
        assert await becomes_true(lambda: admission.requests == 5)
        assert admission.load.running.streams == 1
        headers = {"authorization": "Bearer calm-key"}
        answer = await client.post(URL, json=said("hello", stream=False), headers=headers)
        assert answer.json()["choices"][0]["message"]["audio"]["transcript"] == "hello"
        assert admission.load.refused == {"displaced": 1}
    assert await becomes_true(lambda: admission.requests == 0)
