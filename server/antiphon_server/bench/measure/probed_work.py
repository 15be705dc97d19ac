"""Work of a benchmark between probes of this process's lag and the machine's, until it is done or stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass

from antiphon_server.bench.measure.loop_lag import LoopLagProbe
from antiphon_server.bench.measure.machine_lag import MachineLagProbe


@dataclass(frozen=True, slots=True)
class Probes:
    """They have ended, and can be read."""

    loop: LoopLagProbe
    machine: MachineLagProbe


async def run_probed(work: Coroutine[None, None, None], stop: asyncio.Event) -> Probes:
    """Cancels `work` when `stop` is set. Raises what it raises."""
    with MachineLagProbe() as machine:
        async with LoopLagProbe() as loop:
            working = asyncio.create_task(work)
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                working.cancel()
                stopped.cancel()
                await asyncio.gather(working, stopped, return_exceptions=True)
    if not working.cancelled():
        working.result()
    return Probes(loop, machine)
