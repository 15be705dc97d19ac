"""`/livez`, `/readyz`, `/health`: what each says when a stage is dead, and while the server drains."""

from __future__ import annotations

import httpx

from antiphon_server.app import create_app
from antiphon_server.lifecycle import Lifecycle
from antiphon_server.service import Service
from tests.echo_engine import EchoEngine


async def statuses(client: httpx.AsyncClient) -> tuple[int, int, int]:
    paths = ("/livez", "/readyz", "/health")
    return tuple([(await client.get(path)).status_code for path in paths])  # type: ignore[return-value]


async def test_all_is_well(client: httpx.AsyncClient) -> None:
    assert await statuses(client) == (200, 200, 200)
    assert (await client.get("/readyz")).json() == {"ready": True, "reasons": []}
    assert (await client.get("/health")).content == b""


async def test_a_dead_stage_is_named_and_only_the_process_is_alive(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.kill("talker")
    assert await statuses(client) == (200, 503, 503)
    assert (await client.get("/readyz")).json()["reasons"] == ["the talker engine has stopped"]


async def test_a_draining_server_is_healthy_but_not_ready(service: Service) -> None:
    transport = httpx.ASGITransport(create_app(service, Lifecycle("draining")))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert await statuses(client) == (200, 503, 200)
