"""A realtime client on an ASGI application, without a socket.

In: events to send. Out: the server's events as they come, and how the connection was refused or closed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

import numpy as np
from starlette.types import ASGIApp, Message

Event = dict[str, Any]


class RealtimeClient:
    """`async with RealtimeClient(app) as client`; leaving the block disconnects."""

    def __init__(
        self,
        app: ASGIApp,
        query: str = "model=echo",
        key: str | None = None,
        protocols: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._protocols = protocols
        headers = [(b"host", b"localhost")]
        headers += [(b"authorization", b"Bearer " + key.encode())] if key else []
        self._scope: dict[str, Any] = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws",
            "path": "/v1/realtime", "raw_path": b"/v1/realtime", "query_string": query.encode(),
            "root_path": "", "headers": headers, "subprotocols": list(protocols),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._news = asyncio.Condition()
        self.reads = asyncio.Event()
        self.reads.set()
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self._read = 0

    async def __aenter__(self) -> RealtimeClient:
        await self._incoming.put({"type": "websocket.connect"})
        self.task = asyncio.create_task(self._run())
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: self.messages or self.task.done())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.disconnect()
        async with asyncio.timeout(60):
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    def disconnect(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1005})

    @property
    def status(self) -> int | None:
        return next(
            (m["status"] for m in self.messages if m["type"] == "websocket.http.response.start"), None
        )

    @property
    def refusal(self) -> Event:
        body = next(m["body"] for m in self.messages if m["type"] == "websocket.http.response.body")
        refused: Event = json.loads(body)["error"]
        return refused

    @property
    def subprotocol(self) -> str | None:
        return next(m.get("subprotocol") for m in self.messages if m["type"] == "websocket.accept")

    @property
    def close_code(self) -> int | None:
        return next((m["code"] for m in self.messages if m["type"] == "websocket.close"), None)

    def send(self, kind: str, **fields: Any) -> None:
        self.send_text(json.dumps({"type": kind, **fields}))

    def send_text(self, text: str) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    async def until(self, kind: str) -> Event:
        """The next event of this type that has not been read."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: self._find(kind) is not None or self.task.done())
        found = self._find(kind)
        assert found is not None, [event["type"] for event in self.events[self._read :]]
        self._read = found + 1
        return self.events[found]

    async def ask(self, kind: str, answer: str, **fields: Any) -> Event:
        self.send(kind, **fields)
        return await self.until(answer)

    async def say(self, text: str, **response: Any) -> Event:
        """The response to a message of text."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send("conversation.item.create", item=item)
        return await self.ask("response.create", "response.done", response=response)

    def kinds(self, since: int = 0) -> list[str]:
        """Types of events; equal ones that follow each other once."""
        found: list[str] = []
        for event in self.events[since:]:
            if not found or found[-1] != event["type"]:
                found.append(event["type"])
        return found

    def _find(self, kind: str) -> int | None:
        unread = range(self._read, len(self.events))
        return next((at for at in unread if self.events[at]["type"] == kind), None)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._incoming.get, self._send)
        finally:
            async with self._news:
                self._news.notify_all()

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.messages.append(message)
        if message["type"] == "websocket.send":
            self.events.append(json.loads(message["text"]))
        async with self._news:
            self._news.notify_all()


def tone(seconds: float, rate_hz: int = 24_000) -> str:
    """Base64 of 16-bit PCM."""
    wave = np.sin(np.arange(int(seconds * rate_hz)) * 0.05) * 8_000
    return base64.b64encode(wave.astype("<i2").tobytes()).decode()
