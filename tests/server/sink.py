"""An application behind the real layers that counts what reaches it, on a real port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_server.config.settings import Limits, ServerSettings, Timeouts
from antiphon_server.http.app import layers
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.observability.metrics import ServerMetrics
from tests.server.raw_http import Answer, serving

POST = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Sink:
    """Says how many bytes of body it got. `scopes`: of the requests that came through."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    @property
    def calls(self) -> int:
        return len(self.scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = await Request(scope, receive).body()
        await JSONResponse({"bytes": len(body)})(scope, receive, send)


def layered(app: ASGIApp, server: ServerSettings) -> ASGIApp:
    for layer in reversed(layers(server, ServerMetrics("test"), Lifecycle())):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    return app


@asynccontextmanager
async def sink(
    limits: dict[str, Any] | None = None, timeouts: dict[str, Any] | None = None
) -> AsyncIterator[tuple[int, Sink]]:
    app = Sink()
    server = ServerSettings(limits=Limits(**(limits or {})), timeouts=Timeouts(**(timeouts or {})))
    async with serving(layered(app, server), server) as port:
        yield port, app


def error_of(answer: Answer) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = json.loads(answer.body)["error"]
    return error
