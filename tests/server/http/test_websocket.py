"""WebSockets over raw sockets: handshakes that cannot be read, and sends that come after the end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from antiphon_server.chat.service import Service
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.config.settings import ServerSettings
from antiphon_server.http.app import create_app
from antiphon_server.http.websocket.protocol import BoundedWebSocket
from antiphon_server.process import uvicorn_server
from tests.server.exchange import becomes_true
from tests.server.raw_http import connected, exchange, serving
from tests.server.sink import error_of, sink

HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
UNREADABLE = {
    "a body": b"Content-Length: 5\r\n",
    "a long line": b"X: " + b"a" * 9_000 + b"\r\n",
    "many headers": b"A: b\r\n" * 130,
}


@pytest.mark.parametrize("more", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_handshake_that_cannot_be_read_is_answered(more: bytes) -> None:
    """Its connection would stay open without end, and it has shown no key."""
    async with sink() as (port, app):
        answer = await exchange(port, HANDSHAKE + more + b"\r\n")
    assert (answer.status, error_of(answer)["code"], app.calls) == (400, "invalid_handshake", 0)


class StuckTransport:
    """A client that has stopped reading: what was written stays, and closing it takes long."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, _: str) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def test_a_send_behind_our_own_close_is_a_client_that_has_left() -> None:
    ended, left = asyncio.Event(), asyncio.Event()

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await ended.wait()
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})
        left.set()

    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", proxy_headers=False)
    config.load()
    protocol = BoundedWebSocket(config, ServerState(), {}, lambda: None)
    transport: Any = StuckTransport()
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE + b"\r\n")
    assert await becomes_true(lambda: b" 101 " in transport.written)
    protocol.shutdown()
    # A close frame, with its code before its reason.
    frame = transport.written.partition(b"\r\n\r\n")[2]
    assert (frame[0], frame[2:4]) == (0x88, (1001).to_bytes(2))
    ended.set()
    await asyncio.wait_for(left.wait(), 60)
    assert b"late" not in transport.written


class Accepting:
    """Keeps a connection until it ends."""

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


async def test_a_client_that_answers_no_ping_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_server, "_PING_S", 0.2)
    async with serving(Accepting(), ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(HANDSHAKE + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        ping = await asyncio.wait_for(reader.readexactly(2), 30)
        assert ping[0] == 0x89
        rest = await asyncio.wait_for(reader.read(), 30)
        assert b"\x88" in rest[ping[1] :]


async def test_compression_is_not_agreed_to_and_a_large_event_closes_the_connection() -> None:
    async with serving(Accepting(), ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(HANDSHAKE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert b" 101 " in head
        assert b"extensions" not in head.lower()
        # A text frame that announces a byte more than the limit.
        length = (RealtimePolicy().frame_bytes + 1).to_bytes(8)
        writer.write(b"\x81\xff" + length + bytes(4))
        frame = await asyncio.wait_for(reader.readexactly(4), 30)
        assert (frame[0], frame[2:]) == (0x88, (1009).to_bytes(2))


async def test_a_client_that_leaves_before_it_is_accepted_is_no_fault(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_: Any) -> None:
        raise ClientDisconnected

    app = create_app(service)
    scope = {"type": "websocket", "path": "/v1/realtime", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not app.state.realtime.open
