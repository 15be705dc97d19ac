"""Places for work beside the event loop: a few at once, fewer of one key, the others in a fair queue.

In: the key that a piece of work is for. Out: a place, or `Overloaded` (429) if too many of the key wait, or
if it waits too long. Without API keys there is one owner, "", which may use all places.
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
from antiphon_server.errors import Overloaded

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """`places` in all, `per_key` of one key; `queued_per_key` wait, for `wait_s` at most."""

    places: int
    per_key: int
    queued_per_key: int
    wait_s: float


@dataclass(eq=False, slots=True)
class _Waiter:
    owner: str
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class KeyLanes:
    """One event loop. `what`: the work, in words that a client reads."""

    def __init__(self, limits: LaneLimits, what: str) -> None:
        self._limits = limits
        self._what = what
        self._waiting: FairQueue[_Waiter] = FairQueue()
        self._queued: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    @property
    def running(self) -> int:
        return self._running.total()

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """A place for as long as the block runs."""
        leave = await self.enter(owner)
        try:
            yield
        finally:
            leave()

    async def run(
        self, executor: Executor, owner: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """`work` in a thread. A thread cannot be stopped: a cancelled caller's place stays taken."""
        leave = await self.enter(owner)
        try:
            thread = executor.submit(work, *args, **kwargs)
        except BaseException:
            leave()
            raise
        running = asyncio.wrap_future(thread)

        def over(done: asyncio.Future[R]) -> None:
            leave()
            if not done.cancelled():
                # Read here, since a cancelled caller will not.
                done.exception()

        running.add_done_callback(over)
        return await asyncio.shield(running)

    async def enter(self, owner: str) -> Callable[[], None]:
        """Waits for a place. Out: what gives it back, to be called once."""
        if self._queued[owner] >= self._limits.queued_per_key:
            raise self._overloaded("too many requests of this key wait for it")
        waiter = _Waiter(owner)
        self._waiting.add(waiter)
        self._queued[owner] += 1
        self._hand_out()
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await waiter.turn
        except TimeoutError:
            self._drop(waiter)
            raise self._overloaded(f"no place came free within {self._limits.wait_s:g} s") from None
        except BaseException:
            self._drop(waiter)
            raise
        return lambda: self._leave(waiter)

    def _hand_out(self) -> None:
        while self.running < self._limits.places:
            ready = (one for one in self._waiting.in_order(self._running) if self._may_run(one.owner))
            waiter = next(ready, None)
            if waiter is None:
                return
            self._waiting.started(waiter)
            self._queued[waiter.owner] -= 1
            self._running[waiter.owner] += 1
            if not waiter.turn.done():
                waiter.turn.set_result(None)

    def _may_run(self, owner: str) -> bool:
        return self._running[owner] < (self._limits.per_key if owner else self._limits.places)

    def _drop(self, waiter: _Waiter) -> None:
        """It stopped waiting, perhaps just after it was given a place."""
        if waiter not in self._waiting:
            self._leave(waiter)
            return
        self._waiting.discard(waiter)
        self._queued[waiter.owner] -= 1
        self._tidy()

    def _leave(self, waiter: _Waiter) -> None:
        self._running[waiter.owner] -= 1
        self._hand_out()
        self._tidy()

    def _tidy(self) -> None:
        """Forget owners that have nothing here."""
        self._running += Counter()
        self._queued += Counter()

    def _overloaded(self, why: str) -> Overloaded:
        return Overloaded(f"{self._what}: {why}", code="preparation_queue_full", retry_after_s=_RETRY_S)
