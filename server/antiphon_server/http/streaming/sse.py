"""Server-sent events over ASGI.

In: JSON. Out: `data:` frames, comments, the end. Nothing is buffered here; a client that takes nothing is
given up by `access.py`, whose `send` then raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import Send

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


def frame(json: bytes) -> bytes:
    """One event. `json` has no line breaks: JSON escapes them."""
    return b"data: " + json + b"\n\n"


class EventStream:
    """The response's body. `start`, then `send` as often as needed, then `end`, once."""

    def __init__(self, send: Send, more: Callable[[], Mapping[str, str]] = dict) -> None:
        """`more`: asked for headers when the response starts; names in lower case."""
        self._send = send
        self._more = more
        self.started = False

    async def start(self) -> None:
        self.started = True
        more = [(name.encode(), value.encode()) for name, value in self._more().items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *more]})

    async def send(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = DONE) -> None:
        """The last bytes; the response is complete after them."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
