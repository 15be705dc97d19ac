"""Limits on a request's head and body: bytes, JSON depth, time, and a budget for all bodies. Pure ASGI.

The body is counted while it arrives, whatever its headers promise, so a refused body is never stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon_server.config.settings import Limits, Timeouts
from antiphon_server.errors import (
    ApiError,
    BadRequest,
    HeadersTooLarge,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
)
from antiphon_server.http.body_type import JSON, STREAMED, TYPES_READ
from antiphon_server.http.refusal import refuse
from antiphon_server.openai_api.json_shape import JsonShape

# The key of a request's state that holds its `BufferedBody`, for the application to release.
BUFFERED_BODY = "held_body"

_BODY_FREE_RETRY_S = 2.0
# Counting the structure of this much text takes well under 50 ms, the limit for blocking the event loop.
_SLICE_BYTES = 32 << 10


class HeadLimits:
    """Limits the size of the request target and of the headers."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b""))
        headers = sum(len(name) + len(value) for name, value in scope["headers"])
        if target > self._limits.url_bytes:
            error = HeadersTooLarge("the URL is too long", code="url_too_long")
        elif headers > self._limits.header_bytes:
            error = HeadersTooLarge("the headers are too large")
        else:
            return self._app(scope, receive, send)
        return refuse(scope, receive, send, error)


class BodyLimits:
    """Reads the whole body, within its limits and the budget of all bodies, before the application runs.

    A body whose route reads it as it arrives passes.
    """

    def __init__(self, app: ASGIApp, limits: Limits, timeouts: Timeouts) -> None:
        self._app = app
        self._limits = limits
        self._timeouts = timeouts
        self._in_flight_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("state", {}).get(STREAMED):
            await self._app(scope, receive, send)
            return
        body = BufferedBody(self._shape(scope), self._give_back)
        scope.setdefault("state", {})[BUFFERED_BODY] = body
        try:
            if await self._read(body, scope, receive):
                await self._app(scope, body.replay(receive), send)
        except _Refused as refusal:
            body.drop()
            await refuse(scope, receive, send, refusal.error)
        finally:
            body.drop()

    async def _read(self, body: BufferedBody, scope: Scope, receive: Receive) -> bool:
        """Reads the whole body into `body`. False if the client has disconnected."""
        self._check_promise(scope)
        try:
            async with asyncio.timeout(self._timeouts.body_s):
                while not body.complete:
                    async with asyncio.timeout(self._timeouts.body_idle_s):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    self._take(body, message)
                    await body.measure(message.get("body", b""))
        except TimeoutError:
            raise _Refused(RequestTimeout("the request's body did not arrive in time")) from None
        except BadRequest as error:
            raise _Refused(error) from None
        return True

    def _check_promise(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit() or len(value) > 18:
                    raise _Refused(BadRequest("the Content-Length is not a number"))
                if int(value) > self._limits.body_bytes:
                    raise _Refused(self._too_large())

    def _take(self, body: BufferedBody, message: Message) -> None:
        size = len(message.get("body", b""))
        if body.bytes + size > self._limits.body_bytes:
            raise _Refused(self._too_large())
        if self._in_flight_bytes + size > self._limits.bodies_in_flight_bytes:
            busy = "too many large requests are in progress"
            raise _Refused(Overloaded(busy, code="bodies_in_flight", retry_after_s=_BODY_FREE_RETRY_S))
        self._in_flight_bytes += size
        body.add(message)

    def _give_back(self, size_bytes: int) -> None:
        self._in_flight_bytes -= size_bytes

    def _too_large(self) -> ApiError:
        return PayloadTooLarge(
            f"the body is larger than {self._limits.body_bytes} bytes",
            hint="send less media, or ask the operator to raise --server.limits.body-bytes",
        )

    def _shape(self, scope: Scope) -> JsonShape | None:
        """The counter for a JSON body, whatever its declared type; None if the route reads no JSON."""
        if JSON not in scope.get("state", {}).get(TYPES_READ, (JSON,)):
            return None
        return JsonShape(self._limits.json_depth, self._limits.json_nodes)


class _Refused(Exception):  # carries an ApiError out of the read loop, so the application never sees it
    def __init__(self, error: ApiError) -> None:
        super().__init__()
        self.error = error


class BufferedBody:
    """The pieces of one body. They count against the budget of all bodies until they are released."""

    def __init__(self, shape: JsonShape | None, give_back: Callable[[int], None]) -> None:
        self._shape = shape
        self._give_back = give_back
        # Not a deque: it would keep 700 bytes for as long as the answer takes.
        self._messages: list[Message] = []
        self.bytes = 0
        self.complete = False

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self.bytes += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)

    async def measure(self, piece: bytes) -> None:
        """Counts the JSON structure of a piece, and yields to other tasks in between. Raises `BadRequest`."""
        if self._shape is None:
            return
        for start in range(0, len(piece), _SLICE_BYTES):
            self._shape.count_piece(piece[start : start + _SLICE_BYTES])
            await asyncio.sleep(0)

    def release(self) -> None:
        """Returns its share of the budget: neither the bytes nor the parsed body are in memory any more."""
        self._give_back(self.bytes)
        self.bytes = 0

    def drop(self) -> None:
        self._messages.clear()
        self.release()

    def replay(self, receive: Receive) -> Receive:
        async def replayed() -> Message:
            return self._messages.pop(0) if self._messages else await receive()

        return replayed
