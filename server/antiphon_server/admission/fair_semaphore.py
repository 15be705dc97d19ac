"""A semaphore for work outside the event loop, fair between API keys and with a bounded queue for each key.

Without API keys there is one owner, "", which may use all slots.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from antiphon_server.admission.fair_queue import FairQueue
from antiphon_server.admission.reservation import request_priority
from antiphon_server.errors import Overloaded

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class SemaphoreLimits:
    """`slots` in all, `per_key` of one key. At most `queued_per_key` wait, for at most `wait_s` seconds."""

    slots: int
    per_key: int
    queued_per_key: int
    wait_s: float


@dataclass(eq=False, slots=True)
class _Waiter:
    owner: str
    priority: int = field(default_factory=request_priority.get)
    slot: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FairSemaphore:
    """For one event loop. `what`: names the work in the errors that a client reads."""

    def __init__(self, limits: SemaphoreLimits, what: str) -> None:
        self._limits = limits
        self._what = what
        self._waiting: FairQueue[_Waiter] = FairQueue()
        self._queued: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    @property
    def running(self) -> int:
        return self._running.total()

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncIterator[None]:
        """Hold a slot during the block."""
        release = await self.acquire(owner)
        try:
            yield
        finally:
            release()

    async def run_in_thread(
        self, executor: Executor, owner: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `work` in a thread of `executor`, and return what it returns.

        A thread cannot be stopped: if the caller is cancelled, the slot stays taken until the work is done.
        """
        release = await self.acquire(owner)
        try:
            thread = executor.submit(work, *args, **kwargs)
        except BaseException:
            release()
            raise
        running = asyncio.wrap_future(thread)

        def on_done(done: asyncio.Future[R]) -> None:
            release()
            if not done.cancelled():
                # Retrieve the exception here, because a cancelled caller does not.
                done.exception()

        running.add_done_callback(on_done)
        return await asyncio.shield(running)

    async def acquire(self, owner: str) -> Callable[[], None]:
        """Wait for a slot. Returns a function that releases it, to be called once.

        Raises Overloaded (429) if too many of this owner wait, or if it waits too long.
        """
        if self._queued[owner] >= self._limits.queued_per_key:
            raise self._overloaded("too many requests of this API key are waiting")
        waiter = _Waiter(owner)
        self._waiting.add(waiter)
        self._queued[owner] += 1
        self._start_waiting()
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await waiter.slot
        except TimeoutError:
            self._drop(waiter)
            raise self._overloaded(f"no slot became free within {self._limits.wait_s:g} s") from None
        except BaseException:
            self._drop(waiter)
            raise
        return lambda: self._release(waiter)

    def _start_waiting(self) -> None:
        while self.running < self._limits.slots:
            ready = (one for one in self._waiting.in_order(self._running) if self._may_run(one.owner))
            waiter = next(ready, None)
            if waiter is None:
                return
            self._waiting.mark_started(waiter)
            self._queued[waiter.owner] -= 1
            self._running[waiter.owner] += 1
            if not waiter.slot.done():
                waiter.slot.set_result(None)

    def _may_run(self, owner: str) -> bool:
        return self._running[owner] < (self._limits.per_key if owner else self._limits.slots)

    def _drop(self, waiter: _Waiter) -> None:
        """It stopped waiting, perhaps just after it had got a slot."""
        if waiter not in self._waiting:
            self._release(waiter)
            return
        self._waiting.discard(waiter)
        self._queued[waiter.owner] -= 1
        self._forget_idle()

    def _release(self, waiter: _Waiter) -> None:
        self._running[waiter.owner] -= 1
        self._start_waiting()
        self._forget_idle()

    def _forget_idle(self) -> None:
        """Drop the counts of owners with nothing waiting or running."""
        self._running += Counter()
        self._queued += Counter()

    def _overloaded(self, why: str) -> Overloaded:
        return Overloaded(f"{self._what}: {why}", code="preparation_queue_full", retry_after_s=_RETRY_S)
