"""One HTTP exchange with an ASGI application, under a test's control: who leaves, and who stops reading.

In: an application and a JSON body. Out: the messages it sent. Unlike httpx's transport it hands over every
piece as it comes and can disconnect at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message

from tests.machine import Patience


async def becomes_true(condition: Callable[[], object], within_s: float = 30.0) -> bool:
    """Whether `condition` holds before the time is up."""
    patience = Patience(within_s)
    while not condition():  # what is watched here has no event of its own
        if patience.is_over():
            return False
        await asyncio.sleep(0.002)
    return True


class Exchange:
    """`async with Exchange(app, body) as exchange`; leaving the block ends the application's task."""

    def __init__(
        self, app: ASGIApp, body: Any, path: str = "/v1/chat/completions", key: str | None = None
    ) -> None:
        self._app = app
        self._body = json.dumps(body).encode()
        self._path = path
        self._key = [(b"authorization", b"Bearer " + key.encode())] if key else []
        self._gone = asyncio.Event()
        self._asked = False
        self._news = asyncio.Condition()
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[Message] = []

    async def __aenter__(self) -> Exchange:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": self._path, "raw_path": self._path.encode(), "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"host", b"localhost"), *self._key],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
        }  # fmt: skip
        self.task = asyncio.create_task(self._run(scope))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    def disconnect(self) -> None:
        self._gone.set()

    async def until(self, text: bytes) -> None:
        """Wait until `text` has been sent."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: text in self.body or self.task.done())
        assert text in self.body

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def status(self) -> int:
        return next((m["status"] for m in self.sent if m["type"] == "http.response.start"), 0)

    @property
    def is_complete(self) -> bool:
        return any(m["type"] == "http.response.body" and not m.get("more_body") for m in self.sent)

    @property
    def events(self) -> list[Any]:
        """The JSON of every `data:` frame; `[DONE]` as it is."""
        frames = [
            line.removeprefix("data: ")
            for line in self.body.decode().split("\n\n")
            if line.startswith("data")
        ]
        return [frame if frame == "[DONE]" else json.loads(frame) for frame in frames]

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        finally:
            async with self._news:
                self._news.notify_all()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)
        async with self._news:
            self._news.notify_all()
