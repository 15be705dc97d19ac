"""One connection in each of its states: its address, first byte, waiting requests and end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from antiphon_server.config.settings import Limits, ServerSettings, Timeouts
from antiphon_server.http.connection import ARRIVED_S, TIMED_OUT, BoundedHttp, bounded_http
from antiphon_server.http.connections import Connections
from antiphon_server.http.descriptors import ConnectionLimits
from tests.server.exchange import becomes_true
from tests.server.raw_http import connected, read_answer, serving
from tests.server.sink import POST

pytestmark = pytest.mark.promise("R42", "R51")

GET = b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
BAD_CHUNK = b"2\r\n{}and more than two bytes\r\n"


class Held:
    """An application that starts its answer at once or never, and ends it when the test allows it."""

    def __init__(self, first: bytes = b"") -> None:
        self._first = first
        self.scopes: list[Scope] = []
        self.may_go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if self._first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            await self.may_go_on.wait()
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.may_go_on.wait()
            await PlainTextResponse("done")(scope, receive, send)


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before the body has arrived."""
    await PlainTextResponse("done")(scope, receive, send)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 60)


async def test_a_bad_chunk_while_its_answer_is_on_the_way_ends_it_and_adds_nothing() -> None:
    app = Held(first=b"the beginning")
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(CHUNKED)
        got = await asyncio.wait_for(reader.readuntil(b"the beginning\r\n"), 60)
        writer.write(BAD_CHUNK)
        assert await rest_of(reader) == b""
        app.may_go_on.set()
    assert got.count(b"HTTP/1.1") == 1


async def test_a_bad_chunk_of_a_request_that_waits_is_never_the_answer_to_the_one_before_it() -> None:
    app = Held()
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(GET + CHUNKED + BAD_CHUNK)
        assert await rest_of(reader) == b""
        app.may_go_on.set()
    assert [scope["method"] for scope in app.scopes] == ["GET"]


async def test_garbage_after_a_whole_request_is_never_the_answer_to_that_request() -> None:
    app = Held()
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
        assert await becomes_true(lambda: app.scopes)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert await rest_of(reader) == b""
        app.may_go_on.set()


async def test_sixteen_requests_may_wait_for_the_answer_before_theirs_and_one_more_may_not() -> None:
    app = Held()
    async with serving(app, ServerSettings()) as port:
        async with connected(port) as (reader, writer):
            writer.write(GET * (1 + 17))
            assert await rest_of(reader) == b""
        async with connected(port) as (reader, writer):
            writer.write(GET * (1 + 16))
            assert await becomes_true(lambda: len(app.scopes) == 2)
            app.may_go_on.set()
            assert [(await read_answer(reader)).status for _ in range(17)] == [200] * 17


async def test_the_rest_of_a_body_that_has_its_answer_is_no_late_head() -> None:
    """The deadline of a head is 1 s here; the body's last bytes take longer."""
    server = ServerSettings(timeouts=Timeouts(headers_s=1.0))
    async with serving(at_once, server) as port, connected(port) as (reader, writer):
        writer.write(POST + b"Content-Length: 12\r\n\r\n")
        assert (await read_answer(reader)).status == 200
        for _ in range(4):
            writer.write(b"abc")
            await asyncio.sleep(0.4)
        writer.write(GET)
        assert (await read_answer(reader)).status == 200


async def test_a_request_arrives_with_the_first_byte_of_its_head() -> None:
    app = Held()
    app.may_go_on.set()
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        for _ in range(2):
            begun_s = time.monotonic()
            writer.write(GET[:9])
            await asyncio.sleep(0.3)
            ended_s = time.monotonic()
            writer.write(GET[9:])
            assert (await read_answer(reader)).status == 200
            assert begun_s <= app.scopes[-1]["state"][ARRIVED_S] < ended_s


async def test_a_websocket_arrives_with_the_first_byte_of_its_handshake() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})

    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        begun_s = time.monotonic()
        writer.write(HANDSHAKE[:9])
        await asyncio.sleep(0.3)
        ended_s = time.monotonic()
        writer.write(HANDSHAKE[9:])
        assert b" 101 " in await asyncio.wait_for(reader.readline(), 60)
    assert begun_s <= scopes[0]["state"][ARRIVED_S] < ended_s


@pytest.mark.parametrize(
    "head",
    [HANDSHAKE.replace(b"/v1/realtime", b"/v1/other"), HANDSHAKE.replace(b"websocket", b"h2c")],
    ids=["elsewhere", "to something else"],
)
async def test_an_upgrade_that_is_no_websocket_of_ours_is_an_ordinary_request(head: bytes) -> None:
    app = Held()
    app.may_go_on.set()
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(head)
        assert (await read_answer(reader)).status == 200
    assert [scope["type"] for scope in app.scopes] == ["http"]


async def test_a_handshake_behind_an_unanswered_request_is_an_ordinary_request() -> None:
    app = Held()
    async with serving(app, ServerSettings()) as port, connected(port) as (reader, writer):
        writer.write(GET + HANDSHAKE)
        assert await becomes_true(lambda: app.scopes)
        app.may_go_on.set()
        assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]
    assert [scope["type"] for scope in app.scopes] == ["http", "http"]


async def test_each_address_has_connections_of_its_own() -> None:
    server = ServerSettings(limits=Limits(connections=8, connections_per_address=1))
    async with serving(at_once, server) as port, connected(port) as (reader, writer):
        other, asking = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        asking.write(GET)
        assert (await read_answer(other)).status == 200
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        asking.transport.abort()


class ApiModel(asyncio.Transport):
    """The transport of a connection without a socket: it records what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 9)})
        self.written = b""
        self.can_end = True
        self.has_ended = False
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return self.can_end

    def write_eof(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing


def on_a_wire(headers_s: float = 10) -> tuple[BoundedHttp, ApiModel, Connections]:
    """A connection with its first byte still to come."""
    connections = Connections(ConnectionLimits(total=9, per_address=9, reserve=1))
    config = uvicorn.Config(at_once, ws="none", lifespan="off", log_config=None, access_log=False)
    made: BoundedHttp = bounded_http(Limits(), headers_s, connections)(config, ServerState(), {})
    wire = ApiModel()
    made.connection_made(wire)
    return made, wire, connections


@pytest.mark.parametrize(
    ("cause", "expected"), [(TimeoutError(), True), (ConnectionResetError(), None), (None, None)]
)
async def test_only_a_client_that_fell_silent_marks_its_request_as_timed_out(
    cause: Exception | None, expected: bool | None
) -> None:
    connection, _, _ = on_a_wire()
    connection.data_received(GET)
    state = connection.scope["state"]
    connection.connection_lost(cause)
    assert state.get(TIMED_OUT) is expected


async def test_a_client_that_falls_silent_before_its_first_request_leaves_nothing() -> None:
    connection, _, connections = on_a_wire()
    connection.connection_lost(TimeoutError())
    assert not connection.server_state.connections
    assert not connections._owners


@pytest.mark.parametrize("can_end", [True, False], ids=["plain", "TLS"])
async def test_a_refusal_ends_what_is_written_at_once_where_that_can_be_done(can_end: bool) -> None:
    connection, wire, _ = on_a_wire()
    wire.can_end = can_end
    connection.data_received(b"\x16\x03\x01 hello\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert wire.has_ended is can_end
    assert not wire.is_closing()
    connection.connection_lost(None)


async def test_a_connection_that_is_being_closed_gets_no_refusal_for_a_late_head() -> None:
    """The server stops while half a head is there and the last answer is still in the buffer."""
    connection, wire, _ = on_a_wire(headers_s=0.05)
    connection.data_received(GET[:9])
    connection.shutdown()
    assert wire.is_closing()
    await asyncio.sleep(0.3)
    assert wire.written == b""
    connection.connection_lost(None)
