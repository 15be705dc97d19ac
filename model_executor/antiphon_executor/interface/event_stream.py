"""The events of one request: one bounded queue between the engine and the reader of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from antiphon_executor.interface.events import OmniEvent

MAX_QUEUED_EVENTS = 64


class IdleTimeout(Exception):  # not an error: the wait may go on
    """No event came within the timeout."""


class EndOfStream(Exception):  # the normal end
    """All events have been read."""


class EventStream:
    """Events of one request, for one reader: `next` until EndOfStream, or `async for`.

    The first read starts `produce`, a coroutine that calls `put` for each event and returns at the end. What
    it raises is raised to the reader, behind the events before it. A full queue makes `put` wait, so a slow
    reader slows the engine down. Closing the stream, or cancelling its reader, cancels `produce`.
    """

    def __init__(self, produce: Callable[[EventStream], Awaitable[None]]) -> None:
        self._produce = produce
        self._queue: asyncio.Queue[OmniEvent | Exception] = asyncio.Queue(MAX_QUEUED_EVENTS)
        self._producer: asyncio.Task[None] | None = None
        self._end: Exception | None = None

    @classmethod
    def of(cls, events: AsyncGenerator[OmniEvent]) -> EventStream:
        """The events of a generator, which is closed with the stream."""

        async def forward(stream: EventStream) -> None:
            async with aclosing(events):
                async for event in events:
                    await stream.put(event)

        return cls(forward)

    async def put(self, event: OmniEvent) -> None:
        """Adds an event. Waits while the queue is full."""
        await self._queue.put(event)

    async def next(self, timeout_s: float | None = None) -> OmniEvent:
        """The next event. Raises IdleTimeout, EndOfStream, or the error that ended the request."""
        if self._end is not None:
            raise self._end
        if self._producer is None:
            self._producer = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(timeout_s):
                item = await self._queue.get()
        except TimeoutError:
            raise IdleTimeout from None
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if isinstance(item, Exception):
            self._end = item
            raise item
        return item

    def take_ready(self) -> list[OmniEvent]:
        """The events that can be read without waiting. It does not read the end of the stream."""
        ready: list[OmniEvent] = []
        while self._end is None and not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Exception):
                self._queue.put_nowait(item)
                break
            ready.append(item)
        return ready

    async def aclose(self) -> None:
        """Aborts the request, and returns when the engine has released all that it held."""
        self._end = self._end or EndOfStream()
        if self._producer is not None:
            self._producer.cancel()
            await asyncio.gather(self._producer, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OmniEvent:
        try:
            return await self.next()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def _run(self) -> None:
        try:
            await self._produce(self)
        except Exception as error:
            await self._queue.put(error)
        else:
            await self._queue.put(EndOfStream())
