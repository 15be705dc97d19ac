"""Server-sent events of a response, each with the time at which its last byte arrived.

httpx-sse parses the events. An event is yielded with the piece of the body that completes it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx
from httpx_sse import EventSource

# Larger than any audio packet; a body that sends more without the end of an event is no event stream.
MAX_EVENT_BYTES = 64 << 20


class EventTooLong(ValueError):
    """The body has no end of event within `MAX_EVENT_BYTES`."""


class _TimedBody(httpx.AsyncByteStream):
    """A response body that notes when each piece was read, before anything is decoded."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body
        self.read_at = 0.0
        self.bytes_since_event = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self.read_at = time.monotonic()
            self.bytes_since_event += len(piece)
            if self.bytes_since_event > MAX_EVENT_BYTES:
                raise EventTooLong(f"more than {MAX_EVENT_BYTES >> 20} MiB without an end of event")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


async def timed_events(response: httpx.Response) -> AsyncGenerator[tuple[str, float]]:
    """The data of each event and its arrival time on the monotonic clock. Raises `EventTooLong`."""
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("the response has no asynchronous body")
    body = response.stream = _TimedBody(response.stream)
    async with aclosing(EventSource(response).aiter_sse()) as events:
        async for event in events:
            body.bytes_since_event = 0
            # Blank lines after an id or a comment also arrive as events, without data.
            if event.data:
                yield event.data, body.read_at
