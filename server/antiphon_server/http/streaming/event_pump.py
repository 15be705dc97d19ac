"""The events of a turn, read ahead by a task of their own, so that a reader can notice silence.

In: an async generator. Out: its events, one at a time, each wait with a limit. Leaving the block closes the
generator, and with it the engine's request. It holds at most `_AHEAD` events: a slow reader slows the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_AHEAD = 64


class IdleTimeout(Exception):  # nothing is wrong: the wait has just been long
    """No event within the limit."""


class EndOfStream(Exception):  # the normal end
    """There are no more events."""


class EventPump(Generic[T]):
    """`async with EventPump(events) as feed: await feed.next(15.0)`."""

    def __init__(self, events: AsyncGenerator[T, None]) -> None:
        self._events = events
        self._queue: asyncio.Queue[T | BaseException] = asyncio.Queue(_AHEAD)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._pump())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def next(self, limit_s: float) -> T:
        """The next event. Raises IdleTimeout after `limit_s`, EndOfStream at the end, or the source's own."""
        try:
            async with asyncio.timeout(limit_s):
                event = await self._queue.get()
        except TimeoutError:
            raise IdleTimeout from None
        if isinstance(event, BaseException):
            raise event
        return event

    def take_waiting(self) -> list[T]:
        """Further events that are there already, so that they can share one write."""
        waiting: list[T] = []
        while not self._queue.empty():
            event = self._queue.get_nowait()
            if isinstance(event, BaseException):
                self._queue.put_nowait(event)
                break
            waiting.append(event)
        return waiting

    async def _pump(self) -> None:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    await self._queue.put(event)
        except Exception as error:
            await self._queue.put(error)
        else:
            await self._queue.put(EndOfStream())
