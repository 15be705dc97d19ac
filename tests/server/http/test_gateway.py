"""A gateway for inference in front of the server names tenants and objectives, if the server trusts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.service import Service
from antiphon_server.config.settings import GatewaySettings
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service

KEY = "a-key"
TRUSTED = {"trusted": True, "objectives": ["interactive=2", "batch=-1"]}
SAID = {"messages": [{"role": "user", "content": "hello"}]}


def serving(checkpoint: Path, engine: EchoEngine, gateway: dict[str, Any], keys: list[str]) -> Service:
    return make_service(checkpoint, engine, server={"gateway": gateway, "api_keys": keys})


async def admitted(
    service: Service, monkeypatch: pytest.MonkeyPatch, fairness_id: str = "", objective: str = ""
) -> Reservation:
    """The reservation of a request with these headers."""
    seen: list[Reservation] = []
    enter = service.admission.enter

    def watch(reservation: Reservation) -> None:
        seen.append(reservation)
        enter(reservation)

    monkeypatch.setattr(service.admission, "enter", watch)
    headers = {
        "authorization": f"Bearer {KEY}",
        "x-gateway-inference-fairness-id": fairness_id,
        "x-gateway-inference-objective": objective,
    }
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/v1/chat/completions", json=SAID, headers=headers)
    assert answer.status_code == 200, answer.text
    return seen[0]


@pytest.mark.parametrize("keys", [[], [KEY]])
async def test_tenants_of_a_trusted_gateway_have_queues_and_caches_of_their_own(
    checkpoint: Path, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    service = serving(checkpoint, engine, TRUSTED, keys)
    owners = [(await admitted(service, monkeypatch, name)).owner for name in ("a", "b", "a", "")]
    assert owners[0] == owners[2]
    assert len(set(owners)) == 3
    salts = [request.cache_salt for request in engine.requests]
    assert salts[0] == salts[2] != salts[1]


async def test_objectives_have_the_priorities_of_the_settings(
    checkpoint: Path, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serving(checkpoint, engine, TRUSTED, [])
    found = {
        name: (await admitted(service, monkeypatch, objective=name)).priority
        for name in ("interactive", "batch", "unknown", "")
    }
    assert found == {"interactive": 2, "batch": -1, "unknown": 0, "": 0}


async def test_the_headers_of_a_client_change_nothing_unless_the_gateway_is_trusted(
    checkpoint: Path, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serving(checkpoint, engine, {**TRUSTED, "trusted": False}, [KEY])
    one = await admitted(service, monkeypatch, "a", "interactive")
    other = await admitted(service, monkeypatch, "b", "batch")
    assert one.owner == other.owner
    assert (one.priority, other.priority) == (0, 0)


@pytest.mark.parametrize("text", ["interactive", "interactive=high", "=1", "a b=1"])
def test_an_objective_without_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=NUMBER"):
        GatewaySettings(objectives=(text,))
