"""HTTP/1.1 connections of uvicorn with limits on every part of a request and on the time of its head.

Requests whose head is late, too large or ambiguous are refused with our error body. `body_limits` limits
the body. It is installed by uvicorn's documented setting `http=`.
"""

from __future__ import annotations

import asyncio
import http
import time
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from antiphon_server.config.settings import Limits
from antiphon_server.errors import ApiError, BadRequest, RequestTimeout
from antiphon_server.http.connections import ConnectionKind, Connections
from antiphon_server.http.direct_body import DIRECT_BODY, DirectBody
from antiphon_server.http.error_response import body_of, headers_of
from antiphon_server.http.framing import Framing
from antiphon_server.http.request_head import check_head
from antiphon_server.http.websocket.protocol import BoundedWebSocket
from antiphon_server.observability.rate_limited_log import RateLimitedLog

# Keys of a request's state: whether the kernel closed the connection because its client did not read; the
# connection's `ConnectionKind`; and when the first byte of the head came, in monotonic seconds.
TIMED_OUT = "timed_out"
CONNECTION_KIND = "connection_kind"
ARRIVED_S = "arrived_s"

# Only here is an upgrade to a WebSocket read as one.
_WEBSOCKET_PATH = b"/v1/realtime"

# Pipelined requests that may wait for an earlier answer; each is stored in memory.
_PIPELINED_REQUESTS = 16
# After a refusal the client may go on sending for this long. Closing at once would lose the answer.
_LINGER_S = 1.0

_refusals = RateLimitedLog("antiphon.http", "requests refused before they were read")


def bounded_http(limits: Limits, headers_s: float, connections: Connections) -> Any:
    """The value of uvicorn's `Config(http=...)`: it makes one `BoundedHttp` per connection."""
    return partial(BoundedHttp, limits.url_bytes + limits.header_bytes, headers_s, connections)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self, head_bytes: int, headers_s: float, connections: Connections, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections
        self._kind = ConnectionKind.ORDINARY
        self._framing = Framing(head_bytes)
        self._headers_s = headers_s
        self._deadline: asyncio.TimerHandle | None = None
        self._arrived_s: float | None = None
        self._is_upgrade = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._kind = self._connections.add_connection(self, self.client[0] if self.client else "")
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove_connection(self)
        self._stop_deadline()
        if isinstance(exc, TimeoutError) and self.scope is not None:
            self.scope["state"][TIMED_OUT] = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        # Bytes that arrive during an answer may be a stray line end, so they start no deadline.
        if self._is_free() and not self._framing.in_body:
            self._expect_head()
            self._arrived_s = self._arrived_s or time.monotonic()
        self._framing.count_piece(len(data))
        try:
            self._parse(data)
            self._framing.check_limit()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else _not_http())
        except httptools.HttpParserError:
            self._refuse(_not_http())
        except ApiError as error:
            self._refuse(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._framing.in_body:
            # A trailer comes after the head has been checked, so the application must not see it.
            self._framing.count_trailer(len(name) + len(value))
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_deadline()
        check_head(self.parser.get_http_version(), self.parser.get_method(), self.url, self.headers)
        self._is_upgrade = self.parser.should_upgrade()
        if self._is_upgrade:
            return
        self._framing.start_body()
        self._connections.mark_busy(self)
        self.scope["state"][CONNECTION_KIND] = self._kind
        if self._arrived_s is not None:
            self.scope["state"][ARRIVED_S] = self._arrived_s
            self._arrived_s = None
        super().on_headers_complete()
        self.scope["state"][DIRECT_BODY] = DirectBody(self.cycle)
        if self._kind is ConnectionKind.PROBES:
            self.cycle.keep_alive = False
        if len(self.pipeline) > _PIPELINED_REQUESTS:
            raise BadRequest("too many requests wait for an answer on this connection", code="pipeline_full")

    def on_body(self, body: bytes) -> None:
        self._framing.count_body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._framing.end_message()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_free():
            self._connections.mark_idle(self)

    @property
    def is_flushed(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def drop(self) -> None:
        self._stop_deadline()
        self.transport.abort()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._wants_websocket():
                self._switch_to_websocket()
            else:
                self._parse_without_upgrade(data[upgrade.args[0] :])

    def _wants_websocket(self) -> bool:
        """Whether it is a WebSocket's handshake, on a connection that answers no other request."""
        path = self.url.partition(b"?")[0]
        return path == _WEBSOCKET_PATH and self._get_upgrade() == b"websocket" and self._is_free()

    def _switch_to_websocket(self) -> None:
        state = {**self.app_state, CONNECTION_KIND: self._kind}
        if self._arrived_s is not None:
            state[ARRIVED_S] = self._arrived_s
        lost = partial(self._connections.remove_connection, self)
        protocol = BoundedWebSocket(self.config, self.server_state, state, lost)
        head = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        head += [b"%s: %s" % (name, value) for name, value in self.headers]
        protocol.connection_made(self.transport)
        protocol.data_received(b"\r\n".join([*head, b"", b""]))
        if not protocol.handshake_initiated:
            # Its parser has refused the head, and would neither answer nor ever close the connection.
            protocol.connections.discard(protocol)
            raise BadRequest("this is not the handshake of a WebSocket", code="invalid_handshake")
        self._connections.mark_busy(self)
        self.connections.discard(self)
        self.transport.set_protocol(protocol)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parses the request again without its upgrade header, because the parser would not read its body."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        if rest:
            self._parse(rest)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._headers_s, self._head_is_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        self._refuse(RequestTimeout("the request's headers did not arrive in time"))

    def _refuse(self, error: ApiError) -> None:
        """Answers with `error` if an answer can still be sent, reads nothing more, and closes."""
        if self.transport.is_closing():
            return
        _refusals.warn(error.code)
        self._stop_deadline()
        self._is_refused = True
        self._connections.mark_idle(self)
        if not self._can_answer():
            self.transport.close()
            return
        self.transport.write(_response(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)

    def _is_free(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _can_answer(self) -> bool:
        """Whether an answer can be sent: not within another one. It ends a request that is being read."""
        if self._is_free():
            return True
        cycle = self.cycle
        if cycle.response_started or self.pipeline or not self._framing.in_body:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return True


def _not_http() -> BadRequest:
    return BadRequest("this is not valid HTTP", code="invalid_http")


def _response(error: ApiError) -> bytes:
    body = body_of(error)
    head = (
        f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n"
    )
    more = "".join(f"{name}: {value}\r\n" for name, value in headers_of(error).items())
    return (head + more + "\r\n").encode("ascii") + body
