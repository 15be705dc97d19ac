"""The levels of a run, one after the other.

In: a client, requests, a wish to stop. Out: what was measured, of a level that was stopped too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from antiphon_server.bench.load.client import Listener, Said
from antiphon_server.bench.load.load_generator import send_all
from antiphon_server.bench.load.workload import Request
from antiphon_server.bench.measure.loop_lag import LoopLagProbe
from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Level, Options


@dataclass(frozen=True, slots=True)
class Measured:
    """One level, before it is summed up and judged. `lag`: of this process while it measured."""

    level: Level
    records: Sequence[StreamRecord]
    said: Sequence[Said]
    lag: Distribution | None


async def measure_levels(
    client: httpx.AsyncClient, options: Options, requests: Sequence[Request], stop: asyncio.Event
) -> list[Measured]:
    """Until all are done, or `stop` is set."""
    done: list[Measured] = []
    for level in options.levels:
        if stop.is_set():
            break
        print(f"measuring at {level.name}", file=sys.stderr, flush=True)  # noqa: T201
        done.append(await _measure(client, options, requests, level, stop))
    return done


async def _measure(
    client: httpx.AsyncClient,
    options: Options,
    requests: Sequence[Request],
    level: Level,
    stop: asyncio.Event,
) -> Measured:
    listener = Listener(client, options)

    async def ask(number: int, due: float) -> StreamRecord:
        return await listener.ask(number, requests[number % len(requests)], due)

    async with LoopLagProbe() as pulse:
        listener.begin()
        work = asyncio.create_task(send_all(level, options, ask))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            stopped.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
    if not work.cancelled():
        work.result()
    return Measured(level, listener.records, listener.said, pulse.lag())
