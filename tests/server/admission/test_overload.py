"""Overload over HTTP: requests beyond the capacity are refused immediately."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.raw_http import connected, serving

pytestmark = pytest.mark.serial

URL = "/v1/chat/completions"
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
PLACES, QUEUE = 4, 4
BURST = 80
CAPACITY = Capacity(PLACES, PLACES, QUEUE, 100.0, 20.0, 1 << 20)


@dataclass(frozen=True)
class Call:
    """`seconds`: to the status; `first_s`: to the first text."""

    status: int
    code: str
    seconds: float
    first_s: float
    headers: httpx.Headers


def asked(text: str = "tell me something", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "stream": True, **fields}


async def call(client: httpx.AsyncClient, body: dict[str, Any], key: str = "") -> Call:
    began = time.monotonic()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with client.stream("POST", URL, json=body, headers=headers) as answer:
        took_s, first_s = time.monotonic() - began, 0.0
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            if not first_s and '"content":"' in text:
                first_s = time.monotonic() - began
    code = "" if answer.status_code == 200 else httpx.Response(200, text=text).json()["error"]["code"]
    return Call(answer.status_code, code, took_s, first_s, answer.headers)


@pytest.fixture
def busy(service: Service, engine: EchoEngine) -> Service:
    """An answer takes a second."""
    engine.script = Script(delays_s={1: 0.1, 4: 0.9})
    return replace(service, admission=AdmissionController(CAPACITY, lambda: engine.status().frame_time))


@pytest_asyncio.fixture
async def client(busy: Service) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with (
        serving(create_app(busy), busy.settings.server) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits) as client,
    ):
        yield client


def show(title: str, seconds: list[float]) -> None:
    found = sorted(seconds)
    high = found[min(round(0.99 * len(found)), len(found) - 1)]
    print(f"{title}: {len(found)}, p50 {median(found) * 1e3:.1f} ms, p99 {high * 1e3:.1f} ms")


async def raw_call(port: int, body: dict[str, Any]) -> Call:
    """A minimal client: it shares the machine with the server that it measures."""
    data = json.dumps(body).encode()
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    async with connected(port) as (reader, writer):
        began = time.monotonic()
        writer.write(head.encode() + data)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        took_s, first_s, text = time.monotonic() - began, 0.0, b""
        while piece := await reader.read(65_536):
            text += piece
            if not first_s and (b'"content":"' in text or b'"transcript":"' in text):
                first_s = time.monotonic() - began
    refused = status.split()[1] == "429"
    code = json.loads(text)["error"]["code"] if refused else ""
    headers = httpx.Headers([line.split(": ", 1) for line in lines])  # type: ignore[arg-type]
    return Call(int(status.split()[1]), code, took_s, first_s, headers)


@pytest.mark.parametrize("kind", [{}, SPOKEN], ids=["text", "speech"])
async def test_at_ten_times_the_capacity_the_excess_is_refused_immediately(
    busy: Service, kind: dict[str, Any]
) -> None:
    """Four slots, one second per request, forty requests per second, and no queue."""
    most = 0

    async def come(port: int, number: int) -> Call:
        nonlocal most
        await asyncio.sleep(number / 40)
        one = await raw_call(port, asked(**kind))
        most = max(most, busy.admission.requests)
        return one

    async with serving(create_app(busy), busy.settings.server) as port:
        calm = await asyncio.gather(*(raw_call(port, asked(**kind)) for _ in range(PLACES)))
        calls = await asyncio.gather(*(come(port, number) for number in range(BURST)))
    refused = [one for one in calls if one.status == 429]
    at_once = sorted(one.first_s for one in calls if one.status == 200)[:PLACES]
    show("refused", [one.seconds for one in refused])
    show("first text, calm", [one.first_s for one in calm])
    show("first text, in the burst", at_once)
    assert {one.status for one in calls} == {200, 429}
    assert len(refused) > BURST / 3
    assert most <= PLACES + QUEUE
    assert {one.code for one in refused} == {"queue_full"}
    assert all(int(one.headers["retry-after-ms"]) >= 500 for one in refused)
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
    # 50 ms are promised on a machine that does nothing else; here the figures are printed.
    assert max(one.seconds for one in refused) < 5.0
    assert median(at_once) < 5 * median(one.first_s for one in calm) + 0.5
    assert busy.admission.requests == 0


async def test_live_streams_beyond_real_time_wait_or_are_refused_and_others_pass(
    client: httpx.AsyncClient, busy: Service, engine: EchoEngine
) -> None:
    """The Talker keeps up with one live stream, and requests have taken long."""
    engine.frame_time = FrameTime((0.079,), live_stream_limit=1)
    engine.cues["hold"] = Script(hang_at=3)
    for _ in range(30):
        busy.admission._speech.service_time.observe(15.0)
    holding = asyncio.create_task(call(client, asked("hold", **SPOKEN)))
    assert await becomes_true(lambda: busy.admission.load.running.live == 1)
    waiting = asyncio.create_task(call(client, asked(**SPOKEN)))
    assert await becomes_true(lambda: busy.admission.load.waiting_speech == 1)
    late = await call(client, asked(**SPOKEN))
    assert (late.status, late.code) == (429, "not_in_real_time")
    assert int(late.headers["retry-after"]) > 20
    texts = [await call(client, asked()), await call(client, asked(**SPOKEN, speech_optional=True))]
    assert [one.status for one in texts] == [200, 200]
    file = {"messages": asked()["messages"], **SPOKEN}
    assert (await client.post(URL, json=file)).json()["choices"][0]["message"]["audio"]["transcript"]
    assert not waiting.done()
    holding.cancel()
    assert (await waiting).status == 200


@pytest_asyncio.fixture
async def metered(checkpoint: Path, engine: EchoEngine) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """Two keys, each with limits of tokens and audio seconds per minute."""
    keys = (SecretStr("first-key"), SecretStr("second-key"))
    service = make_service(checkpoint, engine, server={"api_keys": keys})
    capacity = replace(CAPACITY, tokens_per_minute=120, audio_seconds_per_minute=30.0)
    service = replace(service, admission=AdmissionController(capacity))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield service, client


@pytest.mark.parametrize("stream", [True, False])
async def test_rate_limit_headers_show_the_rest_and_a_refusal_the_time_until_refill(
    metered: tuple[Service, httpx.AsyncClient], stream: bool
) -> None:
    service, client = metered
    answers = [await call(client, asked(stream=stream), "first-key") for _ in range(20)]
    served = [one for one in answers if one.status == 200]
    assert 0 < len(served) < 20
    left = [int(one.headers["x-ratelimit-remaining-tokens"]) for one in served]
    assert left == sorted(left, reverse=True)
    assert served[0].headers["x-ratelimit-limit-tokens"] == "120"
    refused = answers[-1]
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000
    assert refused.headers["x-ratelimit-reset-tokens"].endswith("s")
    assert Counter(service.admission.load.refused).keys() == {"token_rate"}
    assert (await call(client, asked(), "second-key")).status == 200


async def test_a_key_is_the_same_key_for_every_spelling_of_its_header(
    metered: tuple[Service, httpx.AsyncClient],
) -> None:
    service, client = metered
    for spelling in ("Bearer first-key", "bearer first-key", "BEARER   first-key"):
        answer = await client.post(URL, json=asked("hi"), headers={"authorization": spelling})
        assert answer.status_code == 200
    assert len(service.admission.rates.tokens) == 1


async def test_a_key_at_its_audio_rate_gets_text_for_optional_speech(
    metered: tuple[Service, httpx.AsyncClient], engine: EchoEngine
) -> None:
    """The speech of a 200-token answer lasts 32 s; the limit is 30 s per minute."""
    service = replace(
        metered[0], admission=AdmissionController(replace(CAPACITY, audio_seconds_per_minute=30.0))
    )
    engine.script = Script(answer="word" * 200)
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await call(client, asked("hi", **SPOKEN), "first-key")).status == 200
        late = await call(client, asked("hi", **SPOKEN), "first-key")
        assert (late.status, late.code) == (429, "rate_limit_exceeded")
        assert 0 < int(late.headers["retry-after-ms"]) < 10_000
        text = await call(client, asked("hi", **SPOKEN, speech_optional=True), "first-key")
        assert (text.status, text.headers["x-ratelimit-remaining-audio-seconds"]) == (200, "0")
        assert (await call(client, asked("hi", **SPOKEN), "second-key")).status == 200
    assert service.admission.load.fell_back == 1


async def test_a_key_at_its_concurrency_limit_gets_429_and_another_key_is_served(
    metered: tuple[Service, httpx.AsyncClient], engine: EchoEngine
) -> None:
    engine.cues["hold"] = Script(hang_at=2)
    capacity = replace(CAPACITY, requests_per_key=1, queue_s=0.1)
    service = replace(metered[0], admission=AdmissionController(capacity))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        holding = asyncio.create_task(call(client, asked("hold"), "first-key"))
        assert await becomes_true(lambda: engine.running == 1)
        late = await call(client, asked("hi"), "first-key")
        assert (late.status, late.code) == (429, "key_concurrency")
        assert int(late.headers["retry-after-ms"]) >= 500
        assert (await call(client, asked("hi"), "second-key")).status == 200
        holding.cancel()
        await asyncio.wait((holding,))
