"""A large JSON body is parsed in a thread by every route that reads one; a small one at once."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.openai_api import body as parser

# A client secret for the default session.
NEEDS_NOTHING = {"/v1/realtime/client_secrets"}
# Refused whatever the body is.
READS_NOTHING = {"/v1/audio/voices"}


async def test_no_route_parses_a_large_body_on_the_event_loop(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_loop: list[bool] = []
    read = parser.from_json

    def watched(body: bytes, **options: Any) -> Any:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return read(body, **options)

    monkeypatch.setattr(parser, "from_json", watched)
    app = create_app(service)
    routes = [route for route in app.routes if isinstance(route, APIRoute) and "POST" in route.methods]
    paths = {
        route.path
        for route in routes
        if "application/json" in (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    }
    assert paths >= {"/v1/chat/completions", "/v1/responses", "/v1/audio/speech", "/tokenize"}
    head = {"content-type": "application/json"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=head) as client:
        for path in sorted(paths):
            on_loop.clear()
            answered = await client.post(path, content=b"{}" + b" " * 100_000)
            assert answered.status_code == (200 if path in NEEDS_NOTHING else 400), path
            assert on_loop == ([] if path in READS_NOTHING else [False]), path
        on_loop.clear()
        await client.post("/v1/audio/speech", content=b"{}")
        assert on_loop == [True]
