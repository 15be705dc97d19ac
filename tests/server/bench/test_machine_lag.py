"""The bare timer loop beside a measurement, and which underruns its stalls explain."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from antiphon_server.bench.measure.machine_lag import MachineLagProbe, Stall, caused_by_stalls
from antiphon_server.bench.measure.player import Underrun
from antiphon_server.bench.measure.timer_loop import INTERVAL_S

LATE = Underrun(waited_since_s=1.0, ended_s=1.2, seconds=0.05)


@pytest.mark.parametrize(
    ("stalls", "explained"),
    [
        ([Stall(1.1, 1.16)], True),
        ([Stall(1.02, 1.05), Stall(1.1, 1.13)], True),
        ([Stall(1.1, 1.14)], False),
        ([Stall(0.9, 1.04)], False),
        ([Stall(1.2, 1.5)], False),
        ([], False),
    ],
)
def test_a_stall_explains_an_underrun_that_is_no_longer(stalls: list[Stall], explained: bool) -> None:
    assert caused_by_stalls(LATE, stalls) == explained


async def test_the_timer_loop_samples_every_few_milliseconds() -> None:
    began_s = time.monotonic()
    with MachineLagProbe() as probe:
        await asyncio.sleep(0.3)
    took_s = time.monotonic() - began_s
    found = probe.summary([])
    assert found is not None
    assert 3 < found.lag_s.n <= 10 + took_s / INTERVAL_S
    assert found.stolen_s is None or found.stolen_s >= 0.0


async def test_a_stall_of_the_timer_is_counted_and_explains_the_underrun_in_it() -> None:
    with MachineLagProbe() as probe:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.05)
        since_s = loop.time()
        os.kill(probe.process_id, signal.SIGSTOP)
        await asyncio.sleep(0.2)
        os.kill(probe.process_id, signal.SIGCONT)
        until_s = loop.time()
        await asyncio.sleep(0.05)
    found = probe.summary([Underrun(since_s, until_s, 0.1), Underrun(since_s - 9.0, until_s - 9.0, 0.1)])
    assert found is not None
    assert found.stalls >= 1
    assert found.lag_s.worst > 0.15
    assert found.underruns_in_stalls == 1


async def test_the_timer_loop_ends_with_a_failed_measurement() -> None:
    with pytest.raises(RuntimeError), MachineLagProbe() as probe:
        raise RuntimeError
    with pytest.raises(ProcessLookupError):
        os.kill(probe.process_id, 0)
