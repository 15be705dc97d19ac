"""Due times of requests: by concurrency, or by Poisson arrivals that no delay moves."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import pytest

from antiphon_server.bench.load.load_generator import RequestNumbers, closed_loop, open_loop
from antiphon_server.bench.measure.record import Outcome, StreamRecord
from tests.simulated_time import on_simulated_time


def record(number: int, outcome: Outcome = "ok", retry_after_s: float | None = None) -> StreamRecord:
    return StreamRecord(number=number, input="text", due_s=0, outcome=outcome, retry_after_s=retry_after_s)


async def test_a_closed_loop_keeps_its_concurrency() -> None:
    running = most = 0
    seen: list[int] = []

    async def ask(number: int, due: float) -> StreamRecord:
        nonlocal running, most
        running += 1
        most = max(most, running)
        seen.append(number)
        await asyncio.sleep(0.001)
        running -= 1
        return record(number)

    await closed_loop(4, RequestNumbers(22, None), ask)
    assert (most, sorted(seen)) == (4, list(range(22)))


@on_simulated_time
async def test_a_closed_loop_waits_for_retry_after() -> None:
    asked_at: list[float] = []

    async def ask(number: int, due: float) -> StreamRecord:
        asked_at.append(due)
        return record(number, "rejected", 0.15)

    await closed_loop(1, RequestNumbers(3, None), ask)
    pauses = [later - earlier for earlier, later in itertools.pairwise([*asked_at, time.monotonic()])]
    assert pauses == pytest.approx([0.15, 0.15, 0.0])


@on_simulated_time
async def test_a_closed_loop_ends_with_its_duration() -> None:
    async def ask(number: int, due: float) -> StreamRecord:
        await asyncio.sleep(0.01)
        return record(number)

    began = time.monotonic()
    await closed_loop(2, RequestNumbers(None, 0.2), ask)
    assert time.monotonic() - began == pytest.approx(0.2, abs=0.02)


@on_simulated_time
async def test_due_times_of_an_open_loop_do_not_move_while_this_process_stalls() -> None:
    """Coordinated omission: if a stall moved the due times, the report would not show the delay."""
    dues: list[float] = []
    lates: list[float] = []

    async def ask(number: int, due: float) -> StreamRecord:
        dues.append(due)
        lates.append(time.monotonic() - due)
        if number == 0:
            time.sleep(0.3)  # noqa: ASYNC251
        return record(number)

    await open_loop(50.0, RequestNumbers(12, None), ask, random.Random(3))
    rng = random.Random(3)
    gaps = [rng.expovariate(50.0) for _ in range(12)]
    assert [b - a for a, b in itertools.pairwise(dues)] == pytest.approx(gaps[1:])
    assert max(lates) > 0.1


@on_simulated_time
async def test_an_open_loop_does_not_wait_for_answers() -> None:
    running = most = 0

    async def ask(number: int, due: float) -> StreamRecord:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.5)
        running -= 1
        return record(number)

    await open_loop(200.0, RequestNumbers(20, None), ask, random.Random(0))
    assert most == 20


async def test_arrivals_are_poisson() -> None:
    dues: list[float] = []

    async def ask(number: int, due: float) -> StreamRecord:
        dues.append(due)
        return record(number)

    await open_loop(2_000.0, RequestNumbers(1_000, None), ask, random.Random(1))
    gaps = [b - a for a, b in zip(sorted(dues), sorted(dues)[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 2_000, rel=0.1)
    assert spread / mean == pytest.approx(1.0, abs=0.1)
