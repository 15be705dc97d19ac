"""Events on their way to one client: written in order by one task, and bounded."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable

from starlette.types import Send

from antiphon_server.realtime.items import Event


class TooManyUnsent(Exception):  # not an error of ours: the client reads too slowly
    """More bytes wait for the client than may."""


def frame_of(event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


class Outbox:
    """`put` never waits. `run` sends until it is cancelled or the client has left."""

    def __init__(self, send: Send, limit_bytes: int) -> None:
        self._send = send
        self._limit_bytes = limit_bytes
        self._waiting: deque[str] = deque()
        self._waiting_chars = 0
        self._put = 0
        self._sent = 0
        self._filled = asyncio.Event()
        self._progress = asyncio.Event()
        self._overfull = asyncio.Event()

    def put(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._waiting_chars > self._limit_bytes:
                # The connection ends. Until then more would only fill the memory.
                self._overfull.set()
                return
            text = frame_of(event)
            self._waiting.append(text)
            self._waiting_chars += self._charge(text)
            self._put += 1
            self._filled.set()

    async def flush(self) -> None:
        """Returns when the socket has accepted all events that were put before."""
        until = self._put
        while self._sent < until:
            self._progress.clear()
            await self._progress.wait()

    async def check(self) -> None:
        """Raises TooManyUnsent when too much waits, also while a send waits for the client."""
        await self._overfull.wait()
        raise TooManyUnsent

    async def run(self) -> None:
        """Raises what `send` raises for a client that has left."""
        while True:
            while self._waiting:
                text = self._waiting.popleft()
                await self._send({"type": "websocket.send", "text": text})
                self._waiting_chars -= self._charge(text)
                self._sent += 1
                self._progress.set()
            self._filled.clear()
            await self._filled.wait()

    def _charge(self, text: str) -> int:
        """One event may exceed the limit, such as an item with all of its audio: others fit beside it."""
        return min(len(text), self._limit_bytes // 2)
