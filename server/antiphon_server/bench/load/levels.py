"""Runner of the load levels of a run, one after the other, until all are done or the run is stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from antiphon_server.bench.load.client import BenchClient, SpokenAnswer
from antiphon_server.bench.load.load_generator import send_all
from antiphon_server.bench.load.workload import Request
from antiphon_server.bench.measure.machine_lag import MachineLag
from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.probed_work import run_probed
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.options import Level, Options


@dataclass(frozen=True, slots=True)
class LevelMeasurement:
    """The raw measurement of one level.

    `lag`: the event loop lag of this process meanwhile, in seconds; `lag_stalls`: lags above 20 ms.
    """

    level: Level
    records: Sequence[StreamRecord]
    answers: Sequence[SpokenAnswer]
    lag: Distribution | None
    lag_stalls: int = 0
    machine: MachineLag | None = None


async def measure_levels(
    client: httpx.AsyncClient, options: Options, requests: Sequence[Request], stop: asyncio.Event
) -> list[LevelMeasurement]:
    """Runs the levels until all are done or `stop` is set; a stopped level is measured too."""
    done: list[LevelMeasurement] = []
    for level in options.levels:
        if stop.is_set():
            break
        print(f"measuring at {level.name}", file=sys.stderr, flush=True)  # noqa: T201
        done.append(await _measure_level(client, options, requests, level, stop))
    return done


async def _measure_level(
    client: httpx.AsyncClient,
    options: Options,
    requests: Sequence[Request],
    level: Level,
    stop: asyncio.Event,
) -> LevelMeasurement:
    bench = BenchClient(client, options)

    async def send(number: int, due: float) -> StreamRecord:
        return await bench.send_request(number, requests[number % len(requests)], due)

    async def send_level() -> None:
        bench.restart_clock()
        await send_all(level, options, send)

    probes = await run_probed(send_level(), stop)
    return LevelMeasurement(
        level,
        bench.records,
        bench.answers,
        probes.loop.lag(),
        probes.loop.stalls,
        probes.machine.summary(bench.underruns),
    )
