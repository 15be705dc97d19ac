"""Load generators: a fixed number of concurrent requests (closed loop) or Poisson arrivals (open loop).

In an open loop the due time of a request does not depend on delays of the server or of this process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Level, Options

# Sends the request with this number, due at this monotonic time.
SendRequest = Callable[[int, float], Awaitable[StreamRecord]]

# Pause after a failure without Retry-After, so that a failing server is not flooded with requests.
_PAUSE_S = 0.25


class RequestNumbers:
    """Numbers from 0 until `requests` have been given out or `duration_s` has passed."""

    def __init__(self, requests: int | None, duration_s: float | None) -> None:
        self._requests = requests
        self._duration_s = duration_s
        self._given_out = 0

    def is_exhausted(self, elapsed_s: float) -> bool:
        if self._requests is not None and self._given_out >= self._requests:
            return True
        return self._duration_s is not None and elapsed_s >= self._duration_s

    def next_number(self, elapsed_s: float) -> int | None:
        """The number of a request that is due `elapsed_s` after the start; None if exhausted."""
        if self.is_exhausted(elapsed_s):
            return None
        self._given_out += 1
        return self._given_out - 1


async def send_all(level: Level, options: Options, send: SendRequest) -> None:
    """Sends the requests of a level and returns when the last one has ended."""
    numbers = RequestNumbers(options.requests, options.duration_s)
    if level.rate_hz is not None:
        await open_loop(level.rate_hz, numbers, send, random.Random(options.seed))
    else:
        await closed_loop(level.concurrency or 1, numbers, send)


async def closed_loop(concurrency: int, numbers: RequestNumbers, send: SendRequest) -> None:
    """`concurrency` clients. Each sends when its last answer has ended, and pauses after a failure."""
    began = time.monotonic()

    async def client() -> None:
        while (number := numbers.next_number(time.monotonic() - began)) is not None:
            record = await send(number, time.monotonic())
            if not record.is_good and not numbers.is_exhausted(time.monotonic() - began):
                retry_after_s = record.retry_after_s
                await asyncio.sleep(_PAUSE_S if retry_after_s is None else retry_after_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())


async def open_loop(rate_hz: float, numbers: RequestNumbers, send: SendRequest, rng: random.Random) -> None:
    """Poisson arrivals: the times between requests are exponentially distributed."""
    began, due_s = time.monotonic(), rng.expovariate(rate_hz)
    async with asyncio.TaskGroup() as group:
        while (number := numbers.next_number(due_s)) is not None:
            await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
            group.create_task(_send_request(send, number, began + due_s))
            due_s += rng.expovariate(rate_hz)


async def _send_request(send: SendRequest, number: int, due: float) -> None:
    await send(number, due)
