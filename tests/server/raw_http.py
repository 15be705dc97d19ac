"""A real server on a real port, in this event loop, and a client that sends exactly the bytes it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from antiphon_server.config.settings import ServerSettings
from antiphon_server.process.preflight import listen
from antiphon_server.process.uvicorn_server import HttpServer


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def serving(app: ASGIApp, settings: ServerSettings) -> AsyncIterator[int]:
    """The port."""
    server = HttpServer(app, settings)
    sock = listen("127.0.0.1", 0, settings.timeouts.stalled_client_s)
    task = server.start(sock)
    try:
        yield sock.getsockname()[1]
    finally:
        server.stop()
        await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode("latin-1")
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 60)
    return Answer(int(status.split()[1]), headers, body)


async def exchange(port: int, request: bytes) -> Answer:
    async with connected(port) as (reader, writer):
        writer.write(request)
        return await read_answer(reader)
