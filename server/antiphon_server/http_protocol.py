"""uvicorn's HTTP/1.1 connection, with a deadline and a size for each request's head.

In: bytes of one connection. Out: ASGI requests whose head was in time and within its size; else our envelope.
The body is `limits.py`'s part. Uses uvicorn's documented `http=` setting; nothing is patched.
"""

from __future__ import annotations

import asyncio
import http
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from antiphon_server.config import Limits
from antiphon_server.envelope import body_of
from antiphon_server.errors import ApiError, BadRequest, HeadTooLarge, TooSlow

# In a request's state: the kernel has ended the connection, since its client took nothing for too long.
TIMED_OUT = "timed_out"


def bounded_http(limits: Limits, headers_s: float) -> Any:
    """What uvicorn's `Config(http=...)` takes: makes one `BoundedHttp` a connection."""
    return partial(BoundedHttp, limits.url_bytes + limits.header_bytes, headers_s)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, head_bytes: int, headers_s: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_limit_bytes = head_bytes
        self._headers_s = headers_s
        self._head_bytes = 0
        self._in_body = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        if isinstance(exc, TimeoutError) and self.scope is not None:
            self.scope["state"][TIMED_OUT] = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._expect_head()
            self._head_bytes += len(data)
        super().data_received(data)
        # A piece that completes its head may bring much of the body along: only an open head counts.
        if not self._in_body and self._deadline is not None and self._head_bytes > self._head_limit_bytes:
            self._close_with(HeadTooLarge("the request's head is too large"))

    def on_headers_complete(self) -> None:
        self._stop_deadline()
        self._head_bytes = 0
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._close_with(BadRequest("this is not valid HTTP", code="invalid_http"))

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._headers_s, self._head_is_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        self._close_with(TooSlow("the request's headers did not arrive in time"))

    def _close_with(self, error: ApiError) -> None:
        self._stop_deadline()
        if self.transport.is_closing():
            return
        # In the middle of another answer there is no place for this one.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_response(error))
        self.transport.close()


def _response(error: ApiError) -> bytes:
    body = body_of(error)
    head = (
        f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
