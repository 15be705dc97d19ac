"""Limits on a request's head and body (size, nesting, time), against a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon_server.config.settings import Limits, ServerSettings, Timeouts
from antiphon_server.http.app import layers
from antiphon_server.http.body_limits import BUFFERED_BODY, BodyLimits
from antiphon_server.http.body_type import STREAMED
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.observability.metrics import ServerMetrics
from tests.machine import slowness
from tests.server.raw_http import connected, exchange, read_answer, serving
from tests.server.sink import POST, Sink, error_of, layered, sink

pytestmark = pytest.mark.promise("R4", "R18")


async def send_chunks(writer: asyncio.StreamWriter, total_bytes: int) -> int:
    """Up to `total_bytes` as chunks of 64 KiB, until the server stops reading."""
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    sent = 0
    try:
        while sent < total_bytes:
            writer.write(chunk)
            await asyncio.wait_for(writer.drain(), 60)
            sent += 0x10000
    except (ConnectionError, TimeoutError):
        pass
    return sent


async def test_a_body_within_the_limits_arrives_whole() -> None:
    async with sink() as (port, app):
        body = json.dumps({"data": "a" * 300_000}).encode()
        answer = await exchange(port, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (answer.status, json.loads(answer.body), app.calls) == (200, {"bytes": len(body)}, 1)


@pytest.mark.parametrize(
    "scope", [{"type": "websocket", "state": {}}, {"type": "http", "state": {STREAMED: True}}], ids=str
)
async def test_sockets_and_bodies_that_a_route_reads_as_they_arrive_pass_unread(scope: Scope) -> None:
    seen: list[object] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((receive, BUFFERED_BODY in scope["state"]))

    async def receive() -> Message:
        raise AssertionError("it was read")

    async def send(_: Message) -> None:
        """Nothing is sent in this test."""

    headers = {"headers": [(b"content-type", b"application/json")], "path": "/v1/realtime", "method": "POST"}
    await BodyLimits(application, Limits(), Timeouts())({**headers, **scope}, receive, send)
    assert seen == [receive, False]


async def test_a_promised_body_over_the_cap_is_refused_before_it_is_sent() -> None:
    async with sink({"body_bytes": 2048}) as (port, app):
        answer = await exchange(port, POST + b"Content-Length: 2049\r\n\r\n")
    assert (answer.status, error_of(answer)["code"], app.calls) == (413, "payload_too_large", 0)


async def test_an_endless_chunked_body_is_refused_while_it_is_read_and_never_held() -> None:
    async with sink({"body_bytes": 1 << 20}) as (port, app):
        before = psutil.Process().memory_info().rss
        async with connected(port) as (reader, writer):
            writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            reading = asyncio.create_task(read_answer(reader))
            sent = await send_chunks(writer, 1 << 30)
            answer = await reading
        grown = psutil.Process().memory_info().rss - before
    assert (answer.status, app.calls) == (413, 0)
    assert sent < 64 << 20
    assert grown < 20 << 20


async def test_all_bodies_share_one_budget_and_give_it_back() -> None:
    async with sink({"body_bytes": 4096, "bodies_in_flight_bytes": 4096}) as (port, app):
        async with connected(port) as (_, writer):
            writer.write(POST + b"Content-Length: 4000\r\n\r\n" + b" " * 3000)
            await writer.drain()
            await asyncio.sleep(0.1)
            refused = await exchange(port, POST + b"Content-Length: 2000\r\n\r\n" + b" " * 2000)
        assert (refused.status, error_of(refused)["code"]) == (429, "bodies_in_flight")
        assert refused.headers["retry-after"] == "2"
        await asyncio.sleep(0.1)
        taken = await exchange(port, POST + b"Content-Length: 4000\r\n\r\n" + b" " * 4000)
    assert (taken.status, app.calls) == (200, 1)


@pytest.mark.parametrize(
    ("body", "code"), [(b"[" * 70, "json_too_deep"), (b"[" + b"1," * 200, "json_too_large")]
)
async def test_json_bombs_are_refused_while_they_are_read(body: bytes, code: str) -> None:
    async with sink({"json_nodes": 150}) as (port, app):
        answer = await exchange(port, POST + b"Content-Length: %d\r\n\r\n" % (len(body) + 10) + body)
    assert (answer.status, error_of(answer)["code"], app.calls) == (400, code, 0)


async def test_a_long_url_and_large_headers_are_refused() -> None:
    async with sink({"url_bytes": 512, "header_bytes": 1024}) as (port, app):
        long_url = await exchange(port, b"GET /v1/x?" + b"a" * 600 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        large = await exchange(
            port, b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 1100 + b"\r\n\r\n"
        )
    assert (long_url.status, error_of(long_url)["code"]) == (431, "url_too_long")
    assert (large.status, error_of(large)["code"], app.calls) == (431, "headers_too_large", 0)


@pytest.mark.parametrize("piece", [b"A: b\r\n", b"a"], ids=["many headers", "one endless header"])
async def test_a_head_without_an_end_is_cut_off(piece: bytes) -> None:
    small = sink({"url_bytes": 512, "header_bytes": 2048})
    async with small as (port, app), connected(port) as (reader, writer):
        reading = asyncio.create_task(read_answer(reader))
        writer.write(b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nX: ")
        while not reading.done():
            writer.write(piece * (600 // len(piece)))
            await asyncio.sleep(0.01)
        answer = await reading
    assert (answer.status, app.calls) == (431, 0)


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"", b""), (b"GET /v1/x HTTP/1.1\r\nHost:", b"a"), (b"GET /", b"a"), (b"\r\n", b"\r\n")],
)
async def test_a_head_that_drips_is_cut_off_in_time(start: bytes, drop: bytes) -> None:
    async with sink(timeouts={"headers_s": 0.3}) as (port, app), connected(port) as (reader, writer):
        began = time.monotonic()
        writer.write(start)
        drip = asyncio.create_task(_drip(writer, drop))
        answer = await read_answer(reader)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        took_s = time.monotonic() - began
        drip.cancel()
    assert (answer.status, error_of(answer)["code"], app.calls) == (408, "request_timeout", 0)
    assert took_s < 5 * slowness()


async def _drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await asyncio.sleep(0.05)


async def test_the_second_request_of_a_connection_has_the_same_deadline() -> None:
    async with sink(timeouts={"headers_s": 0.3}) as (port, _), connected(port) as (reader, writer):
        writer.write(b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_answer(reader)).status == 200
        await asyncio.sleep(0.5)
        writer.write(b"GET /v1/x HTTP/1.1\r\nHo")
        assert (await read_answer(reader)).status == 408


@pytest.mark.parametrize("timeouts", [{"body_idle_s": 0.3}, {"body_s": 0.3}])
async def test_a_body_that_drips_or_stops_is_cut_off_in_time(timeouts: dict[str, float]) -> None:
    async with sink(timeouts=timeouts) as (port, app), connected(port) as (reader, writer):
        writer.write(POST + b"Content-Length: 100000\r\n\r\n")
        drip = asyncio.create_task(_drip(writer, b"a")) if "body_s" in timeouts else None
        answer = await read_answer(reader)
        if drip:
            drip.cancel()
    assert (answer.status, error_of(answer)["code"], app.calls) == (408, "request_timeout", 0)


async def test_what_is_not_http_gets_the_envelope() -> None:
    async with sink() as (port, _):
        answer = await exchange(port, b"\x16\x03\x01 hello\r\n\r\n")
    assert (answer.status, error_of(answer)["code"]) == (400, "invalid_http")


async def test_a_client_that_leaves_in_the_middle_of_its_body_never_reaches_the_application() -> None:
    async with sink() as (port, app):
        async with connected(port) as (_, writer):
            writer.write(POST + b"Content-Length: 100\r\n\r\nabc")
            await writer.drain()
        await asyncio.sleep(0.1)
    assert app.calls == 0


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    ended = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"a" * 65_536

        try:
            await StreamingResponse(pieces())(scope, receive, send)
        finally:
            ended.set()

    metrics = ServerMetrics("test")
    server = ServerSettings(timeouts=Timeouts(stalled_client_s=0.3))
    app: ASGIApp = endless
    for layer in reversed(layers(server, metrics, Lifecycle())):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    async with serving(app, server) as port, connected(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 60)
    assert 'antiphon_requests_aborted_total{reason="stalled_client"} 1.0' in metrics.render().decode()


async def test_a_body_as_large_as_the_cap_is_read_and_a_byte_more_is_not() -> None:
    async with sink({"body_bytes": 2048, "bodies_in_flight_bytes": 2048}) as (port, app):
        for size, status in ((2048, 200), (2049, 413)):
            body = b" " * size
            length = b"Content-Length: %d\r\n\r\n" % size
            chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size
            assert (await exchange(port, POST + length + body)).status == status
            assert (await exchange(port, POST + chunked + body + b"\r\n0\r\n\r\n")).status == status
    assert app.calls == 2


async def test_a_refused_body_is_given_back_before_its_client_has_read_the_refusal() -> None:
    small = sink({"body_bytes": 4096, "bodies_in_flight_bytes": 4096})
    async with small as (port, _), connected(port) as (reader, writer):
        writer.write(POST + b"Content-Length: 4000\r\n\r\n" + b"[" * 3000)
        assert (await read_answer(reader)).status == 400
        assert (await exchange(port, POST + b"Content-Length: 4096\r\n\r\n" + b" " * 4096)).status == 200


async def status_of(scope: dict[str, Any], limits: dict[str, int]) -> int:
    """A request that did not pass `BoundedHttp`, sent to the middleware directly."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], **scope}
    await layered(Sink(), ServerSettings(limits=Limits(**limits)))(whole, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        ({"path": "/" + "a" * 299}, 300),
        ({"path": "/a", "raw_path": b"/" + b"%61" * 100}, 301),
        ({"path": "/" + "a" * 199, "query_string": b"b" * 100}, 300),
    ],
)
async def test_a_url_may_be_as_long_as_its_limit(target: dict[str, Any], limit: int) -> None:
    assert await status_of(target, {"url_bytes": limit}) == 200
    assert await status_of(target, {"url_bytes": limit - 1}) == 431


async def test_headers_may_be_as_large_as_their_limit() -> None:
    fields = {"headers": [(b"name", b"v" * 1020), (b"b", b"v")]}
    assert await status_of(fields, {"header_bytes": 1026}) == 200
    assert await status_of(fields, {"header_bytes": 1025}) == 431


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"", 400), (b"1x", 400), (b"-1", 400), (b"0" * 19, 400), (b"0" * 18, 200), (b"9" * 18, 413)],
)
async def test_a_content_length_is_a_number_of_bounded_length(length: bytes, status: int) -> None:
    assert await status_of({"headers": [(b"content-length", length)]}, {}) == status
