"""uvicorn on a socket of ours, with our limits and without its own signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.config.settings import ServerSettings
from antiphon_server.http.app import layers
from antiphon_server.http.connection import bounded_http
from antiphon_server.http.connections import Connections
from antiphon_server.http.descriptors import connection_limits, descriptor_limit
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.routes.health import livez, unready
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.realtime.client_secrets import ClientSecrets

_LAST_CONNECTIONS_S = 2
_PING_S = 20.0


class SwitchableApp:
    """An ASGI application that can be replaced while it serves: first one that answers `loading`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class HttpServer(uvicorn.Server):
    """uvicorn, which only `stop` stops."""

    def __init__(self, app: ASGIApp, server: ServerSettings, realtime: RealtimePolicy | None = None) -> None:
        """Raises `StartupError` if the process may open too few files."""
        connections = Connections(connection_limits(server.limits, descriptor_limit()))
        config = uvicorn.Config(
            app,
            http=bounded_http(server.limits, server.timeouts.headers_s, connections),
            # `BoundedHttp` chooses the WebSocket protocol.
            ws="none",
            ws_max_size=(realtime or RealtimePolicy()).frame_bytes,
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            ws_per_message_deflate=False,
            ssl_certfile=server.tls_certificate_file,
            ssl_keyfile=server.tls_key_file,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            root_path=server.root_path.rstrip("/"),
            timeout_keep_alive=server.timeouts.keep_alive_s,
            timeout_graceful_shutdown=_LAST_CONNECTIONS_S,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled in `serve.py`: uvicorn would end the process without our exit code."""
        yield

    def start(self, sock: socket.socket) -> asyncio.Task[None]:
        return asyncio.create_task(self.serve(sockets=[sock]), name="http")

    def stop(self) -> None:
        """Accept no more connections; running answers get two more seconds."""
        self.should_exit = True


def loading_app(
    server: ServerSettings,
    metrics: ServerMetrics,
    life: Lifecycle,
    client_secrets: ClientSecrets | None = None,
    keys: KeyRing | None = None,
) -> ASGIApp:
    """The application while the engine loads: the probes work, every other path answers 503."""

    async def alive(_: Request) -> JSONResponse:
        return JSONResponse((await livez()).model_dump())

    async def not_yet(_: Request) -> JSONResponse:
        return unready(life.closed_because())

    routes = [Route("/livez", alive), Route("/{path:path}", not_yet)]
    return Starlette(routes=routes, middleware=layers(server, metrics, life, (), client_secrets, keys))
