"""Work between probes: it runs to its end, is cancelled by a stop, and its fault is raised."""

from __future__ import annotations

import asyncio

import pytest

from antiphon_server.bench.measure.probed_work import run_probed


async def test_the_probes_cover_all_of_the_work() -> None:
    probes = await run_probed(asyncio.sleep(0.2), asyncio.Event())
    lag, machine = probes.loop.lag(), probes.machine.summary(())
    assert lag is not None
    assert machine is not None
    assert machine.lag_s.n >= 2


async def test_a_stop_cancels_it() -> None:
    stop, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(run_probed(work(), stop))
    await began.wait()
    stop.set()
    await running
    assert ended.is_set()


async def test_its_fault_is_raised() -> None:
    async def work() -> None:
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        await run_probed(work(), asyncio.Event())
