"""Connections of `/v1/realtime`: keys, client secrets, refusals, and limits on each."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.types import Message

from antiphon_executor.interface.media import Media
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.realtime.outbox import Outbox, TooManyUnsent
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.process.uvicorn_server import loading_app
from antiphon_server.realtime.client_secrets import ClientSecrets, Grant, SecretTooLong
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient, tone

# Of the key "secret".
OWNER = hashlib.sha256(b"secret").hexdigest()
KEYED = {"server": {"api_keys": ["secret"], "limits": {}}}


@pytest.fixture
def keyed(checkpoint: Path) -> FastAPI:
    return create_app(make_service(checkpoint, **KEYED))


@pytest.mark.parametrize(
    ("query", "key", "status", "code"),
    [
        ("model=echo", None, 401, "missing_api_key"),
        ("model=echo", "wrong", 401, "invalid_api_key"),
        ("model=another", "secret", 404, "model_not_found"),
        ("intent=transcription", "secret", 400, "unsupported_parameter"),
        ("call_id=rtc_1", "secret", 400, "unsupported_parameter"),
    ],
)
async def test_a_connection_is_refused_as_http(
    keyed: FastAPI, query: str, key: str | None, status: int, code: str
) -> None:
    async with RealtimeClient(keyed, query, key) as client:
        assert (client.status, client.refusal["code"]) == (status, code)
        assert not any(message["type"] == "websocket.accept" for message in client.messages)


async def test_a_browser_sends_its_key_as_a_subprotocol_and_never_gets_it_back(keyed: FastAPI) -> None:
    protocols = ("realtime", "openai-insecure-api-key.secret", "openai-beta.realtime-v1")
    async with RealtimeClient(keyed, protocols=protocols) as client:
        await client.until("session.created")
        assert client.subprotocol == "realtime"
        assert "secret" not in json.dumps(client.events)


async def test_connections_are_limited_in_number(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, realtime=RealtimePolicy(connections=1)))
    async with RealtimeClient(app) as one:
        await one.until("session.created")
        async with RealtimeClient(app) as two:
            assert (two.status, two.refusal["code"]) == (429, "too_many_connections")
    async with RealtimeClient(app) as three:
        await three.until("session.created")


@pytest.mark.parametrize(
    ("policy", "code"), [({"session_s": 0.05}, "session_expired"), ({"idle_s": 0.05}, "session_idle")]
)
async def test_a_session_ends_with_its_reason(checkpoint: Path, policy: dict[str, float], code: str) -> None:
    app = create_app(make_service(checkpoint, realtime=RealtimePolicy(**policy)))
    async with RealtimeClient(app) as client:
        assert (await client.until("error"))["error"]["code"] == code
        assert await becomes_true(lambda: client.close_code == 1000)


async def test_audio_far_faster_than_real_time_is_refused(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, realtime=RealtimePolicy(input_burst_s=1)))
    async with RealtimeClient(app) as client:
        client.send("input_audio_buffer.append", audio=tone(0.8))
        client.send("input_audio_buffer.append", audio=tone(0.8))
        assert (await client.until("error"))["error"]["code"] == "rate_limit_exceeded"


async def test_a_client_secret_opens_a_connection_with_its_session(checkpoint: Path, keyed: FastAPI) -> None:
    session = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": {"turn_detection": None}}}
    transport = httpx.ASGITransport(keyed)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        body = {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": session}
        path, header = "/v1/realtime/client_secrets", {"authorization": "Bearer secret"}
        assert (await http.post(path, json=body)).status_code == 401
        made = (await http.post(path, json=body, headers=header)).json()
        assert made["session"]["instructions"] == "Be brief."
        reused = await http.post(path, json=body, headers={"authorization": f"Bearer {made['value']}"})
        assert reused.status_code == 401
        bad = await http.post(path, json={"session": {"type": "realtime", "voice": "x"}}, headers=header)
        assert bad.json()["error"]["param"] == "session.voice"
        for wrong in ({"model": 5}, {"audio": 5}, {"type": "transcription"}, {"tools": {}}):
            refused = await http.post(path, json={"session": {"type": "realtime", **wrong}}, headers=header)
            assert refused.status_code == 400, wrong
    async with RealtimeClient(keyed, key=made["value"]) as client:
        created = (await client.until("session.created"))["session"]
        assert created["instructions"] == "Be brief."
        assert created["audio"]["input"]["turn_detection"] is None
        assert created["audio"]["output"]["voice"] == made["session"]["audio"]["output"]["voice"]
        assert created["audio"]["output"]["voice"] in keyed.state.service.engine.card.voices
    async with RealtimeClient(keyed, key=made["value"][:-2] + "AA") as client:
        assert client.status == 401


def test_a_client_secret_expires_and_belongs_to_one_signing_key() -> None:
    now = [1_000.0]
    ours, other = (ClientSecrets(key, lambda: now[0]) for key in (b"a", b"b"))
    grant = Grant("owner", 1_060, {"type": "realtime"})
    secret = ours.make(grant)
    assert ours.read(secret) == grant
    assert other.read(secret) is None
    for long in ("x" * (1 << 20), secrets.token_hex(8_000)):
        with pytest.raises(SecretTooLong):
            ours.make(replace(grant, session={"instructions": long}))
    assert ours.read("ek_") is None
    assert ours.read("ek_####") is None
    now[0] = 1_060.0
    assert ours.read(secret) is None


async def test_a_client_secret_ends_with_its_key(checkpoint: Path, tmp_path: Path) -> None:
    """With that of another key, of a tenant, and of a server that needed none."""
    file = tmp_path / "keys"
    file.write_text("secret\nother\n")
    server = {"api_keys": ["secret", "other"], "api_key_file": file}
    service = replace(make_service(checkpoint, server=server), keys=KeyRing((), file))
    app = create_app(service)
    owners = (OWNER, f"{OWNER}:tenant", hashlib.sha256(b"other").hexdigest(), None)
    grants = [Grant(owner, 4_000_000_000, {"type": "realtime"}) for owner in owners]
    made = [app.state.client_secrets.make(grant) for grant in grants]

    async def opened() -> list[int | None]:
        found = []
        for secret in made:
            async with RealtimeClient(app, key=secret) as client:
                found.append(client.status)
        return found

    assert await opened() == [None, None, None, 401]
    file.write_text("other\n")
    service.keys.reload_if_changed()
    assert await opened() == [401, 401, None, 401]


async def test_a_client_secret_is_read_once(keyed: FastAPI) -> None:
    """It may expire between two readings."""
    readings: list[str] = []
    granted = Grant(OWNER, 2_000_000_000, {"type": "realtime", "instructions": "Be brief."})

    def read(secret: str) -> Grant | None:
        readings.append(secret)
        return granted if len(readings) == 1 else None

    keyed.state.client_secrets.read = read
    async with RealtimeClient(keyed, key="ek_once") as client:
        created = (await client.until("session.created"))["session"]
        assert created["instructions"] == "Be brief."
    assert len(readings) == 1


async def test_a_server_without_keys_refuses_a_client_secret_that_is_no_longer_valid(
    service: Service,
) -> None:
    async with RealtimeClient(create_app(service), key="ek_old") as client:
        assert (client.status, client.refusal["code"]) == (401, "invalid_api_key")
    async with RealtimeClient(create_app(service), key="anything") as client:
        await client.until("session.created")


async def test_servers_with_the_same_signing_key_accept_each_other_s_client_secrets(
    checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"k" * 32)
    policy = RealtimePolicy(signing_key_file=file)
    one, two = (create_app(make_service(checkpoint, realtime=policy, **KEYED)) for _ in range(2))
    other = create_app(make_service(checkpoint, **KEYED))
    secret = one.state.client_secrets.make(Grant(OWNER, 4_000_000_000, {"type": "realtime"}))
    async with RealtimeClient(two, key=secret) as client:
        await client.until("session.created")
    async with RealtimeClient(other, key=secret) as client:
        assert client.status == 401


async def test_a_client_secret_is_known_while_the_model_loads(checkpoint: Path) -> None:
    settings = make_service(checkpoint, **KEYED).settings
    client_secrets = ClientSecrets(b"a")
    app = loading_app(settings.server, ServerMetrics("test"), Lifecycle("loading"), client_secrets)
    secret = client_secrets.make(Grant(OWNER, 4_000_000_000, {"type": "realtime"}))
    async with RealtimeClient(app, key=secret) as client:
        assert (client.status, client.refusal["code"]) == (503, "loading")
    async with RealtimeClient(app, key="ek_wrong") as client:
        assert client.status == 401


async def test_a_client_that_does_not_read_is_disconnected(checkpoint: Path) -> None:
    policy = RealtimePolicy(unsent_bytes=65_536)
    app = create_app(make_service(checkpoint, realtime=policy))
    async with RealtimeClient(app) as client:
        await client.until("conversation.created")
        client.reads.clear()
        for _ in range(60):
            client.send("session.update", session={"type": "realtime", "instructions": "x" * 2_000})
        await asyncio.sleep(0.05)
        client.reads.set()
        assert await becomes_true(lambda: client.close_code == 1008)


async def test_events_behind_too_many_are_not_kept() -> None:
    async def send(_: Message) -> None:
        """Nothing is sent in this test."""

    outbox = Outbox(send, 1_000)
    outbox.put({"type": "x", "text": "x" * 900} for _ in range(1_000))
    with pytest.raises(TooManyUnsent):
        await outbox.check()
    assert outbox._waiting_chars < 3_000


async def test_a_flood_of_events_does_not_stop_the_server(service: Service) -> None:
    async with RealtimeClient(create_app(service)) as client:
        await client.until("conversation.created")
        before = len(client.events)
        for _ in range(500):
            client.send("input_audio_buffer.clear")
        turns = 0
        while len(client.events) - before < 500 and turns < 5_000:
            turns += 1
            await asyncio.sleep(0)
        assert 400 < turns < 5_000


async def test_images_beyond_the_memory_of_a_conversation_are_refused(service: Service) -> None:
    class LargeImages:
        async def load(self, sources: object, hold: Callable[[int], None], **_: object) -> Media:
            hold(100 << 20)
            hold(100 << 20)
            return Media()

    media: Any = LargeImages()
    async with RealtimeClient(create_app(replace(service, media=media))) as client:
        content = [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]
        client.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        error = (await client.until("error"))["error"]
        assert error["code"] == "conversation_media_limit_exceeded"


async def test_a_transcript_that_meets_a_fault_fails(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("antiphon_server.http.realtime.transcript.build_transcript_spec", fail)
    async with RealtimeClient(create_app(service)) as client:
        listening = {"turn_detection": None, "transcription": {"model": "x"}}
        session = {"type": "realtime", "audio": {"input": listening}}
        await client.ask("session.update", "session.updated", session=session)
        client.send("input_audio_buffer.append", audio=tone(1.0))
        client.send("input_audio_buffer.commit")
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "internal_error"
        assert "secret" not in failed["error"]["message"]


async def test_a_connection_that_its_client_ends_was_answered(service: Service) -> None:
    async with RealtimeClient(create_app(service)) as client:
        await client.until("conversation.created")
    assert 'antiphon_requests_total{outcome="ok"} 1.0' in service.metrics.render().decode()


@asynccontextmanager
async def client_with_a_long_item(checkpoint: Path) -> AsyncIterator[RealtimeClient]:
    """Its item "long" has more audio than may wait for a client that does not read."""
    app = create_app(make_service(checkpoint, realtime=RealtimePolicy(unsent_bytes=65_536)))
    async with RealtimeClient(app) as client:
        content = [{"type": "input_audio", "audio": tone(3.0)}]
        item = {"type": "message", "role": "user", "id": "long", "content": content}
        await client.ask("conversation.item.create", "conversation.item.done", item=item)
        yield client


async def test_one_event_may_be_larger_than_what_may_wait(checkpoint: Path) -> None:
    async with client_with_a_long_item(checkpoint) as client:
        kind = "conversation.item.retrieve"
        retrieved = (await client.ask(kind, "conversation.item.retrieved", item_id="long"))["item"]
        assert len(retrieved["content"][0]["audio"]) > 100_000
        assert client.close_code is None


async def test_a_client_may_ask_for_several_large_items_at_once(checkpoint: Path) -> None:
    async with client_with_a_long_item(checkpoint) as client:
        client.reads.clear()
        for _ in range(4):
            client.send("conversation.item.retrieve", item_id="long")
        await asyncio.sleep(0.02)
        client.reads.set()
        for _ in range(4):
            await client.until("conversation.item.retrieved")
        assert client.close_code is None


async def test_events_fit_beside_one_that_is_larger_than_what_may_wait() -> None:
    async def send(_: Message) -> None:
        """Nothing is sent in this test."""

    outbox = Outbox(send, 1_000)
    outbox.put([{"type": "x", "text": "x" * 5_000}, {"type": "y"}, {"type": "z"}])
    assert not outbox._overfull.is_set()


async def test_what_is_left_of_a_rate_follows_each_response(service: Service) -> None:
    admission = AdmissionController(Capacity(16, 16, 64, 3600.0, 30.0, 1 << 30, tokens_per_minute=1_000))
    async with RealtimeClient(create_app(replace(service, admission=admission))) as client:
        await client.say("hello")
        (limit,) = (await client.until("rate_limits.updated"))["rate_limits"]
        assert (limit["name"], limit["limit"]) == ("tokens", 1_000)
        assert 900 < limit["remaining"] < 1_000
        assert 0 < limit["reset_seconds"] < 10


class Loud:
    """Loud is speech."""

    async def score(self, _: object, frames: np.ndarray) -> np.ndarray:
        return (np.abs(frames).max(1) > 1_000).astype(np.float32)


async def test_what_is_left_of_a_rate_stands_before_the_next_response(
    service: Service, engine: EchoEngine
) -> None:
    """Of a turn that has waited for the response before."""
    admission = AdmissionController(Capacity(16, 16, 64, 3600.0, 30.0, 1 << 30, tokens_per_minute=1_000))
    scorer: Any = Loud()
    app = create_app(replace(service, admission=admission, voice_activity=scorer))
    engine.script = first = Script(answer="hello there", hang_at=5)
    detection = {"type": "server_vad", "interrupt_response": False}
    async with RealtimeClient(app) as client:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
        await client.ask("session.update", "session.updated", session=session)
        for _ in range(2):
            client.send("input_audio_buffer.append", audio=tone(1.0))
            client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(48_000)).decode())
            await client.until("input_audio_buffer.committed")
        engine.script = Script()
        first.resumed.set()
        done = await client.until("response.done")
        after = client.events.index(done) + 1
        await client.until("response.created")
        kinds = [event["type"] for event in client.events[after : after + 2]]
        assert kinds == ["rate_limits.updated", "response.created"]


async def test_a_request_without_an_upgrade_is_refused_with_the_reason(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/realtime?model=echo")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "websocket_required"


async def test_many_idle_connections_hold_nothing_at_the_engine(service: Service) -> None:
    app = create_app(service)
    clients = [RealtimeClient(app) for _ in range(50)]
    await asyncio.gather(*(client.__aenter__() for client in clients))
    assert service.admission.requests == 0
    await asyncio.gather(*(client.__aexit__() for client in clients))
    assert not app.state.realtime.open
