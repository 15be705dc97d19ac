"""Error responses without running the application, in pure ASGI.

The rest of the body is then read and dropped for a bounded time, so that the client can read its answer
before the connection closes.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_server.errors import ApiError
from antiphon_server.http.error_response import body_of, headers_of

_LINGER_S = 2.0
_LINGER_BYTES = 8 << 20
_POLICY_VIOLATION = 1008


class RefusalResponse(Response):
    """For a route that has not read its whole body."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(status_code=error.status)
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, receive, send, self._error)


async def refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answers with `error`, on HTTP or on a WebSocket that is not accepted yet."""
    if scope["type"] == "websocket":
        await _refuse_websocket(scope, receive, send, error)
        return
    body = body_of(error)
    await send({"type": "http.response.start", "status": error.status, "headers": _raw_headers(error, body)})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await _drop_rest(scope, receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _raw_headers(error: ApiError, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    return headers + [(name.encode(), value.encode()) for name, value in headers_of(error).items()]


async def _drop_rest(scope: Scope, receive: Receive) -> None:
    names = {name for name, _ in scope["headers"]}
    if not names & {b"content-length", b"transfer-encoding"}:
        return
    dropped = 0
    try:
        async with asyncio.timeout(_LINGER_S):
            while dropped < _LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                dropped += len(message.get("body", b""))
    except TimeoutError:
        return


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.code})
        return
    body = body_of(error)
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.status,
            "headers": _raw_headers(error, body),
        }
    )
    await send({"type": "websocket.http.response.body", "body": body})
