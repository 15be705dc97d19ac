"""Clients of streamed text over plain sockets, cheap enough to measure a server on the same machine."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import cast

_CREATED_NS = re.compile(rb"@([0-9a-f]+);")


@dataclass(slots=True)
class Latencies:
    """`delays_s` of tokens from their creation in the engine to their bytes at the client, since `clear`."""

    delays_s: list[float] = field(default_factory=list)
    pieces: int = 0

    def clear(self) -> None:
        self.delays_s.clear()
        self.pieces = 0


class TextStream(asyncio.Protocol):
    """One request on a connection of its own."""

    def __init__(self, request: bytes, latencies: Latencies) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._latencies = latencies
        self.began: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        created = _CREATED_NS.findall(data)
        if created:
            self._latencies.pieces += 1
            self._latencies.delays_s += [(now_ns - int(one, 16)) / 1e9 for one in created]
            if not self.began.done():
                self.began.set_result(None)
        if b"data: [DONE]" in data:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.began.done():
            self.began.set_exception(ConnectionError("the server closed the connection before any text"))
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def request_bytes(tokens: int, seed: int) -> bytes:
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": tokens,
        "seed": seed,
        "stream": True,
    }
    data = json.dumps(body).encode()
    lines = ("POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json")
    return "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data


async def open_streams(port: int, count: int, request: bytes, latencies: Latencies) -> list[TextStream]:
    """Opens `count` streams, 50 at a time, and returns when each has its first token."""
    loop = asyncio.get_running_loop()
    streams: list[TextStream] = []
    while len(streams) < count:
        some = [
            loop.create_connection(lambda: TextStream(request, latencies), "127.0.0.1", port)
            for _ in range(min(50, count - len(streams)))
        ]
        opened = [protocol for _, protocol in await asyncio.gather(*some)]
        await asyncio.wait_for(asyncio.gather(*(one.began for one in opened)), 60)
        streams += opened
    return streams


async def close_streams(streams: list[TextStream]) -> None:
    for one in streams:
        one.close()
    await asyncio.gather(*(one.ended for one in streams))
