"""The HTTP parser's limits against raw sockets: heads, chunk framing, trailers, pipelines, upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from pathlib import Path

import psutil
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from antiphon_server.config.settings import ServerSettings, Timeouts
from antiphon_server.http import connection as http_protocol
from antiphon_server.http.app import create_app
from antiphon_server.observability.rate_limited_log import RateLimitedLog
from tests.server.parts import make_service
from tests.server.raw_http import Answer, connected, exchange, read_answer, serving
from tests.server.sink import POST, error_of, sink

pytestmark = pytest.mark.promise("R42")

HOST = b"Host: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL = {"url_bytes": 1024, "header_bytes": 2048}
GET = b"GET /v1/x HTTP/1.1\r\n" + HOST


async def write_until_answered(port: int, start: bytes, pieces: Iterator[bytes]) -> tuple[Answer, int]:
    """The answer, and how many bytes the server read before it; then the server must close."""
    sent = 0
    async with connected(port) as (reader, writer):
        writer.write(start)
        reading = asyncio.create_task(read_answer(reader))
        try:
            for piece in pieces:
                if reading.done():
                    break
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 60)
                await asyncio.sleep(0)
                sent += len(piece)
        except ConnectionError:
            pass
        answer = await reading
        assert await asyncio.wait_for(reader.read(), 60) == b""
    return answer, sent


ENDLESS = {
    "many trailers": (b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 1000),
    "one trailer without an end": (b"2\r\n{}\r\n0\r\nA: ", b"a" * 60_000),
    "a chunk extension without an end": (b"2;", b"a" * 60_000),
    "tiny chunks": (b"", b"1\r\n \r\n" * 1000),
    "tiny chunks with long extensions": (b"", (b"1;" + b"a" * 1000 + b"\r\n \r\n") * 50),
    "a chunk size of many zeros": (b"", b"0" * 60_000),
}


@pytest.mark.parametrize(("start", "piece"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_what_is_not_body_is_bounded_in_every_state_of_the_parser(start: bytes, piece: bytes) -> None:
    async with sink() as (port, app):
        before = psutil.Process().memory_info().rss
        answer, sent = await write_until_answered(port, CHUNKED + start, repeat(piece, 20_000))
        grown = psutil.Process().memory_info().rss - before
    assert answer.status in (400, 431)
    assert error_of(answer)["code"] in ("chunk_framing_too_large", "trailers_too_large")
    assert answer.headers["connection"] == "close"
    assert (app.calls, sent < 16 << 20, grown < 20 << 20) == (0, True, True)


async def test_trailers_in_one_piece_with_the_whole_request_have_the_same_limit() -> None:
    body = b"2\r\n{}\r\n0\r\n" + b"A: 1234567\r\n" * 500 + b"\r\n"
    async with sink(SMALL) as (port, app):
        answer = await exchange(port, CHUNKED + body)
        assert (answer.status, error_of(answer)["code"], app.calls) == (431, "trailers_too_large", 0)
        allowed = b"2\r\n{}\r\n0\r\n" + b"A: 1234567\r\n" * 50 + b"\r\n"
        assert (await exchange(port, CHUNKED + allowed)).status == 200


async def test_large_chunks_with_short_extensions_arrive_whole_however_long_the_body() -> None:
    chunk = b"1000;a=b\r\n" + b" " * 0x1000 + b"\r\n"
    async with sink(SMALL) as (port, _), connected(port) as (reader, writer):
        writer.write(CHUNKED)
        for _ in range(1000):
            writer.write(chunk)
            await writer.drain()
        writer.write(b"0\r\nChecksum: abc\r\n\r\n")
        answer = await read_answer(reader)
    assert json.loads(answer.body) == {"bytes": 0x1000 * 1000}


@pytest.mark.parametrize("pause_s", [0.0, 0.1], ids=["in one piece", "after the head"])
async def test_a_trailer_never_becomes_a_header(checkpoint: Path, pause_s: float) -> None:
    service = make_service(checkpoint, server={"api_keys": ["canary-key"]})
    head = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    trailers = b"0\r\nAuthorization: Bearer canary-key\r\nX-Request-Id: smuggled\r\n\r\n"
    server = serving(create_app(service), service.settings.server)
    async with server as port, connected(port) as (reader, writer):
        writer.write(head if pause_s else head + trailers)
        await asyncio.sleep(pause_s)
        if pause_s:
            writer.write(trailers)
        answer = await read_answer(reader)
    assert answer.status == 401
    assert answer.headers["x-request-id"] != "smuggled"


async def test_a_trailer_is_no_header_of_the_next_request_either() -> None:
    async with sink() as (port, app), connected(port) as (reader, writer):
        writer.write(CHUNKED + b"2\r\n{}\r\n0\r\nX-Request-Id: smuggled\r\nA: b\r\n\r\n" + GET + b"\r\n")
        first, second = await read_answer(reader), await read_answer(reader)
    assert (first.status, second.status) == (200, 200)
    for scope in app.scopes:
        assert not {b"a", b"x-request-id"} & {name for name, _ in scope["headers"]}


async def test_a_trailer_does_not_ask_for_a_hundred_continue() -> None:
    async with sink() as (port, app), connected(port) as (reader, writer):
        writer.write(CHUNKED + b"2\r\n{}\r\n0\r\nExpect: 100-continue\r\n\r\n" + GET + b"\r\n")
        assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]
    assert app.calls == 2


UNCLEAR = {
    "no Host": b"GET /v1/x HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: localhost\r\n\r\n",
    "two different Hosts": GET + b"Host: evil\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET /v1/x HTTP/1.0\r\n" + HOST * 2 + b"\r\n",
    "a Host with a path": b"GET /v1/x HTTP/1.1\r\nHost: localhost/livez?\r\n\r\n",
    "a Host with a user": b"GET /v1/x HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "a Host with spaces": b"GET /v1/x HTTP/1.1\r\nHost: local host\r\n\r\n",
    "another host in the target": b"GET http://evil/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "another port in the target": b"GET http://localhost:1/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a user in the target": b"GET http://localhost@localhost/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target without a path": b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n",
    "another scheme in the target": b"GET ftp://localhost/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /v1/x\r\n\r\n",
    "HTTP/2.0": b"GET /v1/x HTTP/2.0\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "both lengths": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, turned": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "two Content-Lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length past 64 bits": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip alone": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "NUL in a name": GET + b"A\0: b\r\n\r\n",
    "an escape in a value": GET + b"A: \x1b[31m\r\n\r\n",
    "a folded line": GET + b"A: b\r\n c\r\n\r\n",
    "a folded line with a tab": GET + b"A: b\r\n\tc\r\n\r\n",
    "a space before the colon": GET + b"A : b\r\n\r\n",
    "no field name": GET + b": b\r\n\r\n",
    "bare LF": b"GET /v1/x HTTP/1.1\nHost: localhost\n\n",
    "bare CR": GET + b"A: b\rC: d\r\n\r\n",
    "a signed chunk size": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "a chunk size past 64 bits": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"2\r\n{}X0\r\n\r\n",
    "a chunk line with a bare LF": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a trailer with NUL": CHUNKED + b"2\r\n{}\r\n0\r\nA: \0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_a_request_that_two_parsers_may_read_differently_is_refused_and_ends_the_connection(
    request_bytes: bytes,
) -> None:
    async with sink() as (port, app), connected(port) as (reader, writer):
        writer.write(request_bytes)
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert error_of(answer)["type"] == "invalid_request_error"
        assert await asyncio.wait_for(reader.read(), 60) == b""
    assert app.calls == 0


CLEAR = {
    "HTTP/1.0 without a Host": b"GET /v1/x HTTP/1.0\r\n\r\n",
    "a target that agrees with its Host": b"GET http://LOCALHOST/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with the usual port": b"GET http://localhost:80/v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address in brackets": b"GET http://[::1]:9/v1/x HTTP/1.1\r\nHost: [::1]:9\r\n\r\n",
    "chunked in capitals": POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", CLEAR.values(), ids=CLEAR.keys())
async def test_the_plain_spellings_of_a_head_are_read(request_bytes: bytes) -> None:
    async with sink() as (port, app):
        assert (await exchange(port, request_bytes)).status == 200
    assert [scope["path"] for scope in app.scopes] == ["/v1/x"]


async def test_requests_that_wait_on_one_connection_are_bounded() -> None:
    async with sink() as (port, app), connected(port) as (reader, writer):
        writer.write((GET + b"\r\n") * 5)
        assert [(await read_answer(reader)).status for _ in range(5)] == [200] * 5
        writer.write((GET + b"\r\n") * 2000)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 60)
    assert app.calls < 50


@pytest.mark.parametrize(
    "coding", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("pause_s", [0.0, 0.1], ids=["in one piece", "after the head"])
async def test_a_request_that_offers_another_protocol_is_answered_in_this_one(
    coding: bytes, pause_s: float
) -> None:
    """As Java's client sends it. If it were an upgrade, its body would be parsed as the next request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    head, end, body = (POST + offer + coding).partition(b"\r\n\r\n")
    async with sink() as (port, app), connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(head + end)
            await asyncio.sleep(pause_s)
            writer.write(body)
            answer = await read_answer(reader)
            assert (answer.status, json.loads(answer.body)) == (200, {"bytes": 2})
    assert app.calls == 2
    assert b"upgrade" not in {name for name, _ in app.scopes[0]["headers"]}


async def test_a_line_end_after_the_body_does_not_cut_the_answer_short() -> None:
    """Some clients send one. The deadline of a head is 0.2 s here, the answer takes longer."""

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.6)
        await PlainTextResponse("done")(scope, receive, send)

    server = ServerSettings(timeouts=Timeouts(headers_s=0.2))
    async with serving(slow, server) as port, connected(port) as (reader, writer):
        writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
        await asyncio.sleep(0.05)
        writer.write(b"\r\n")
        assert (await read_answer(reader)).body == b"done"
        writer.write(GET + b"\r\n")
        assert (await read_answer(reader)).body == b"done"


async def test_a_body_is_asked_for_only_once_its_head_is_accepted() -> None:
    async with sink({"body_bytes": 1024}) as (port, app):
        expect = POST + b"Expect: 100-continue\r\n"
        async with connected(port) as (reader, writer):
            writer.write(expect + b"Content-Length: 2\r\n\r\n")
            assert (
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
            )
            writer.write(b"{}")
            assert (await read_answer(reader)).status == 200
        assert (await exchange(port, expect + b"Content-Length: 2000\r\n\r\n")).status == 413
    assert app.calls == 1


async def test_a_flood_of_invalid_requests_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    http_protocol._refusals._next_s = 0.0
    async with sink() as (port, _):
        for _ in range(50):
            await exchange(port, b"\x16\x03\x01 hello\r\n\r\n")
    lines = [record for record in caplog.records if record.name in ("antiphon.http", "uvicorn.error")]
    warned = [record for record in lines if record.levelno >= logging.WARNING]
    assert len(warned) <= 2


def test_a_rate_limited_log_counts_what_it_does_not_write(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    log = RateLimitedLog("test.rare", "refused", lambda: now_s)
    for _ in range(100):
        log.warn("invalid_http")
    now_s = 11.0
    log.warn("invalid_host")
    assert [record.fields for record in caplog.records] == [  # type: ignore[attr-defined]
        {"count": 1, "last": "invalid_http"},
        {"count": 100, "last": "invalid_host"},
    ]


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert not {task for task in asyncio.all_tasks() - before if task.get_name() == "http"}
