"""The events of one request: one bounded queue between the engine and the reader of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from antiphon_executor.interface.events import OmniEvent

MAX_QUEUED_EVENTS = 64
_CLOCK_S = 0.001


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
        # Short and mostly empty; an empty deque takes 700 bytes.
        self._events: list[OmniEvent] = []
        self._producer: asyncio.Task[None] | None = None
        # How `produce` ended, behind the events; then how the stream ended for its reader.
        self._last: Exception | None = None
        self._end: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._alarm = _Alarm()
        self._sink: Callable[[OmniEvent], bool] | None = None

    @classmethod
    def of(cls, events: AsyncGenerator[OmniEvent]) -> EventStream:
        """The events of a generator, which is closed with the stream."""

        async def forward(stream: EventStream) -> None:
            async with aclosing(events):
                async for event in events:
                    await stream.put(event)

        return cls(forward)

    def divert(self, sink: Callable[[OmniEvent], bool]) -> None:
        """`sink` is offered each event that a waiting reader would get. True: it has taken the event.

        It saves the reader's task a step per event. The reader's timeout counts from the last event.
        """
        self._sink = sink

    async def put(self, event: OmniEvent) -> None:
        """Adds an event. Waits while the queue is full."""
        while len(self._events) >= MAX_QUEUED_EVENTS:
            room = asyncio.get_running_loop().create_future()
            self._writers.append(room)
            await room
        reader = self._reader
        waits = reader is not None and not reader.done() and not self._events
        if waits and self._sink is not None and self._sink(event):
            self._alarm.postpone()
            return
        self._events.append(event)
        _wake(reader)

    async def next(self, timeout_s: float | None = None) -> OmniEvent:
        """The next event. Raises IdleTimeout, EndOfStream, or the error that ended the request."""
        if self._end is None and not self._events and self._last is None:
            await self._wait(timeout_s)
        if self._end is None and not self._events:
            self._end = self._last
        if self._end is not None:
            self._alarm.cancel()
            raise self._end
        event = self._events.pop(0)
        self._wake_writers()
        return event

    def take_ready(self) -> list[OmniEvent]:
        """The events that can be read without waiting. It does not read the end of the stream."""
        if self._end is not None or not self._events:
            return []
        ready, self._events = self._events, []
        self._wake_writers()
        return ready

    async def aclose(self) -> None:
        """Aborts the request, and returns when the engine has released all that it held."""
        self._end = self._end or EndOfStream()
        self._alarm.cancel()
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

    async def _wait(self, timeout_s: float | None) -> None:
        """Returns when there is an event or the end of the events. Raises IdleTimeout."""
        if self._producer is None:
            self._producer = asyncio.create_task(self._run(self._produce))
            # The task alone keeps what the request holds, and may let go of parts of it.
            self._produce = _ended
        self._reader = asyncio.get_running_loop().create_future()
        if timeout_s is not None:
            self._alarm.wake(self._reader, timeout_s)
        try:
            await self._reader
        except asyncio.CancelledError:
            await self.aclose()
            raise
        finally:
            self._reader = None
        if not self._events and self._last is None:
            raise IdleTimeout

    def _wake_writers(self) -> None:
        if self._writers:
            writers, self._writers = self._writers, []
            for room in writers:
                _wake(room)

    async def _run(self, produce: Callable[[EventStream], Awaitable[None]]) -> None:
        producing = produce(self)
        del produce
        try:
            await producing
        except Exception as error:
            self._last = error
        else:
            self._last = EndOfStream()
        _wake(self._reader)


class _Alarm:
    """Wakes a future after a time. One timer serves all waits that end early."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._after_s = 0.0
        self._due_s = 0.0

    def wake(self, waiter: asyncio.Future[None], after_s: float) -> None:
        """Wakes `waiter` in `after_s`, unless it is done by then. It replaces an earlier waiter."""
        loop = waiter.get_loop()
        self._waiter, self._after_s, self._due_s = waiter, after_s, loop.time() + after_s
        if self._timer is not None:
            if self._timer.when() <= self._due_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(self._due_s, self._ring)

    def postpone(self) -> None:
        """The time of the present waiter starts again."""
        if self._timer is not None and self._waiter is not None:
            self._due_s = self._waiter.get_loop().time() + self._after_s

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._waiter = None

    def _ring(self) -> None:
        waiter, self._timer = self._waiter, None
        if waiter is None or waiter.done():
            return
        loop = waiter.get_loop()
        # uvloop's timers and clock are whole milliseconds.
        if loop.time() + _CLOCK_S < self._due_s:
            self._timer = loop.call_at(self._due_s, self._ring)
        else:
            waiter.set_result(None)


async def _ended(_stream: EventStream) -> None:
    """Produces nothing."""


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
