"""Where speech has no room, a client that allows it gets text; one that does not is refused, as ever."""

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
    """One stream, nobody may wait for it, room for text; who says "hold" keeps the stream."""
    engine.cues["hold"] = Script(hang_at=2)
    admission = AdmissionController(Capacity(8, 1, 0, 100.0, 5.0, 1 << 20))
    service.metrics.watch_load(lambda: admission.load)
    return replace(service, admission=admission)


@pytest.fixture
async def caller(full: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose only stream is taken."""
    app = create_app(full)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        Exchange(app, said("hold")),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert await becomes_true(lambda: full.admission.load.running.streams == 1)
        yield client


async def test_who_allows_it_gets_text(caller: httpx.AsyncClient, full: Service) -> None:
    answer = await caller.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert answer.status_code == 200
    message = answer.json()["choices"][0]["message"]
    assert (message["content"], message.get("audio")) == ("hello there", None)
    assert "antiphon_admission_softened_total 1.0" in full.metrics.render().decode()


async def test_a_stream_too(caller: httpx.AsyncClient) -> None:
    answer = await caller.post(URL, json=said("hello there", speech_optional=True))
    assert '"content":"hell"' in answer.text
    assert '"audio"' not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_who_does_not_is_refused_and_told_when_to_come_back(
    caller: httpx.AsyncClient, full: Service
) -> None:
    answer = await caller.post(URL, json=said("hello there"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after-ms"]) >= 500
    assert 'antiphon_admission_refused_total{reason="queue_full"} 1.0' in full.metrics.render().decode()


async def test_with_places_in_the_queue_it_is_text_at_once_all_the_same(
    service: Service, engine: EchoEngine
) -> None:
    """A place to wait for a stream is not a stream. The queue is the default's: 64 places, 30 s."""
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


async def test_of_many_that_come_together_as_many_speak_as_there_are_streams(
    service: Service, engine: EchoEngine
) -> None:
    """Looking for a stream and taking it are one step: none is promised twice, none is left unused."""
    engine.script = Script(hang_at=2)
    admission = AdmissionController(Capacity(8, 3, 64, 100.0, 30.0, 1 << 20))
    app = create_app(replace(service, admission=admission))
    async with AsyncExitStack() as clients:
        for _ in range(8):
            await clients.enter_async_context(Exchange(app, said("hello there", speech_optional=True)))
        assert await becomes_true(lambda: engine.running == 8)
        assert (admission.load.running.streams, admission.load.fell_back) == (3, 5)


async def test_while_the_talker_is_started_again_it_is_text(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.lose("talker")
    answer = await client.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hello there")
    refused = await client.post(URL, json=said("hello there", stream=False))
    assert refused.status_code == 503


async def test_text_is_not_in_its_way(caller: httpx.AsyncClient) -> None:
    answer = await caller.post(URL, json=said("hello", modalities=["text"], stream=False, audio=None))
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


async def test_where_there_is_room_speech_stays_speech(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=said("hello there", speech_optional=True, stream=False))
    assert answer.json()["choices"][0]["message"]["audio"]["transcript"] == "hello there"


async def test_each_key_has_its_own_place_in_the_queue(checkpoint: Path, engine: EchoEngine) -> None:
    """One key takes what there is, and all who wait are its own: the other key still gets in."""
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
