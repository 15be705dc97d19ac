"""Server-sent events over ASGI: bytes out, within a deadline for the client to take them.

In: JSON. Out: `data:` frames, comments, the end. A client that takes nothing is a `StalledClient`.
"""

from __future__ import annotations

import asyncio

from starlette.types import Send

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class StalledClient(Exception):  # says what happened to the client, not an error of ours
    """The client has taken nothing for the whole deadline."""


def frame(json: bytes) -> bytes:
    """One event. `json` has no line breaks: JSON escapes them."""
    return b"data: " + json + b"\n\n"


class EventStream:
    """The response's body. `start`, then `send` as often as needed, then `end`."""

    def __init__(self, send: Send, stall_s: float) -> None:
        self._send = send
        self._stall_s = stall_s
        self.started = False

    async def start(self) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})

    async def send(self, data: bytes) -> None:
        if data:
            await self._send_body({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = DONE) -> None:
        """The last bytes; the response is complete after them."""
        await self._send_body({"type": "http.response.body", "body": data, "more_body": False})

    async def _send_body(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await self._send(message)
        except TimeoutError:
            raise StalledClient from None
