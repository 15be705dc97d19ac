"""When requests are sent: so many at all times (closed loop), or at random times, come what may (open loop).

In: what to do with a number and a due time. Out: nothing; it ends when the last request has.
An open loop's request is due when the dice said so, however late this process or the server is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Level, Options

Ask = Callable[[int, float], Awaitable[StreamRecord]]

# After a failure that names no time to come back: nobody hammers a server that is in trouble.
_REST_S = 0.25


class Supply:
    """Numbers of requests, as many as were asked for or as long as was asked for."""

    def __init__(self, requests: int | None, duration_s: float | None) -> None:
        self._requests = requests
        self._duration_s = duration_s
        self._taken = 0

    def is_empty(self, elapsed_s: float) -> bool:
        if self._requests is not None and self._taken >= self._requests:
            return True
        return self._duration_s is not None and elapsed_s >= self._duration_s

    def take(self, elapsed_s: float) -> int | None:
        """The next number, for a request due `elapsed_s` after the start."""
        if self.is_empty(elapsed_s):
            return None
        self._taken += 1
        return self._taken - 1


async def send_all(level: Level, options: Options, ask: Ask) -> None:
    supply = Supply(options.requests, options.duration_s)
    if level.rate_hz is not None:
        await open_loop(level.rate_hz, supply, ask, random.Random(options.seed))
    else:
        await closed_loop(level.concurrency or 1, supply, ask)


async def closed_loop(concurrency: int, supply: Supply, ask: Ask) -> None:
    """`concurrency` clients; each sends when its last answer has ended, and rests after a refusal."""
    began = time.monotonic()

    async def client() -> None:
        while (number := supply.take(time.monotonic() - began)) is not None:
            record = await ask(number, time.monotonic())
            if not record.is_good and not supply.is_empty(time.monotonic() - began):
                told_s = record.retry_after_s
                await asyncio.sleep(_REST_S if told_s is None else told_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())


async def open_loop(rate_hz: float, supply: Supply, ask: Ask, dice: random.Random) -> None:
    """Poisson arrivals: the times between them are exponential."""
    began, due_s = time.monotonic(), dice.expovariate(rate_hz)
    async with asyncio.TaskGroup() as group:
        while (number := supply.take(due_s)) is not None:
            await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
            group.create_task(_answered(ask, number, began + due_s))
            due_s += dice.expovariate(rate_hz)


async def _answered(ask: Ask, number: int, due: float) -> None:
    await ask(number, due)
