"""Watch for a client that disconnects while its response is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.types import Receive, Scope

from antiphon_server.http.connection import TIMED_OUT
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.observability.request_trace import log_trace


class ClientLeft(Exception):  # not an error: the response has no reader
    """The client has disconnected."""


async def respond_while_connected(
    scope: Scope, receive: Receive, responding: Awaitable[None], metrics: ServerMetrics
) -> None:
    """Awaits `responding`, and logs the request's trace. A client that disconnects cancels it."""
    try:
        await cancel_if_left(receive, responding)
    except ClientLeft:
        timed_out = scope.get("state", {}).get(TIMED_OUT)
        metrics.request_aborted("stalled_client" if timed_out else "disconnect")
    finally:
        log_trace()


async def cancel_if_left(receive: Receive, responding: Awaitable[None]) -> None:
    """Awaits `responding` in this task. A client that disconnects cancels it and raises ClientLeft."""
    responder = asyncio.current_task()
    watch = asyncio.create_task(_watch(receive, responder))
    cancelling = responder.cancelling() if responder is not None else 0
    try:
        await responding
    except asyncio.CancelledError:
        # As `asyncio.timeout`: a cancellation from elsewhere goes on.
        left = watch.done() and not watch.cancelled()
        if left and responder is not None and responder.uncancel() <= cancelling:
            raise ClientLeft from None
        raise
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(receive: Receive, responder: asyncio.Task[None] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if responder is not None:
        responder.cancel()
