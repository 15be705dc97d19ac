"""`/livez`, `/readyz` and `/health` when a stage is dead, and while the server drains."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.version import VERSION
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service


async def statuses(client: httpx.AsyncClient) -> tuple[int, int, int]:
    paths = ("/livez", "/readyz", "/health")
    return tuple([(await client.get(path)).status_code for path in paths])  # type: ignore[return-value]


async def test_all_is_well(client: httpx.AsyncClient) -> None:
    assert await statuses(client) == (200, 200, 200)
    assert (await client.get("/readyz")).json() == {"ready": True, "works": ["text", "speech"], "reasons": []}
    assert (await client.get("/health")).content == b""


async def test_a_dead_stage_is_named_and_only_the_process_is_alive(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.kill("talker")
    assert await statuses(client) == (200, 503, 503)
    assert (await client.get("/readyz")).json()["reasons"] == ["the talker engine has stopped"]


async def test_without_its_talker_it_is_ready_for_text_and_says_so(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.lose("talker")
    readiness = await client.get("/readyz")
    assert (readiness.status_code, readiness.json()) == (
        200,
        {"ready": True, "works": ["text"], "reasons": ["the talker engine is being restarted"]},
    )
    assert (await client.get("/readyz?need=speech")).status_code == 503
    engine.bring_back("talker")
    assert (await client.get("/readyz?need=speech")).status_code == 200


async def test_a_server_of_text_says_why_it_has_no_speech(checkpoint: Path) -> None:
    service = make_service(checkpoint, EchoEngine(checkpoint, speaks=False))
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/readyz")).json() == {"ready": True, "works": ["text"], "reasons": []}
        readiness = await client.get("/readyz?need=speech")
    assert (readiness.status_code, readiness.json()["reasons"]) == (503, ["this server has no Talker"])


async def test_without_its_thinker_nothing_works(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.lose("thinker")
    readiness = await client.get("/readyz")
    assert (readiness.status_code, readiness.json()["works"]) == (503, [])


@pytest.mark.promise("R49")
async def test_a_stuck_engine_is_not_ready_for_what_needs_it_and_says_why(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    """A request would wait for the watchdog, although another server could answer it."""
    engine.stuck = {"talker": "the talker engine does not answer"}
    readiness = await client.get("/readyz")
    assert (readiness.status_code, readiness.json()["works"]) == (200, ["text"])
    assert (await client.get("/readyz?need=speech")).status_code == 503
    engine.stuck = {"thinker": "the thinker engine does not answer"}
    readiness = await client.get("/readyz")
    assert (readiness.status_code, readiness.json()["works"]) == (503, [])
    assert readiness.json()["reasons"] == ["the thinker engine does not answer"]
    assert (await client.get("/livez")).status_code == 200
    engine.stuck = {}
    assert await statuses(client) == (200, 200, 200)


async def test_while_the_talker_is_away_text_is_answered_and_speech_is_asked_to_come_back(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.lose("talker")
    text = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    assert (await client.post("/v1/chat/completions", json=text)).status_code == 200
    speech = {**text, "modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "wav"}}
    refused = await client.post("/v1/chat/completions", json=speech)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_dead")
    assert refused.headers["retry-after"] == "30"
    assert "restarted" in refused.json()["error"]["message"]


async def test_a_draining_server_is_healthy_but_not_ready(service: Service) -> None:
    transport = httpx.ASGITransport(create_app(service, Lifecycle("draining")))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert await statuses(client) == (200, 503, 200)


async def test_the_version_is_served_where_load_tools_look_for_it(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version")).json() == {"version": VERSION}
