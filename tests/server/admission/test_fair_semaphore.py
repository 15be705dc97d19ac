"""The fair semaphore: keys share its slots, and cancelled work releases its slot."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from antiphon_server.admission.fair_semaphore import FairSemaphore, SemaphoreLimits
from antiphon_server.errors import Overloaded


def semaphore(slots: int = 2, per_key: int = 1, queued: int = 8, wait_s: float = 30.0) -> FairSemaphore:
    return FairSemaphore(SemaphoreLimits(slots, per_key, queued, wait_s), "the work")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_key_that_floods_the_queue_does_not_block_another() -> None:
    gate = semaphore(slots=2, per_key=1)
    release = await gate.acquire("a")
    others = [asyncio.create_task(gate.acquire("a")) for _ in range(4)]
    await settle()
    assert not any(task.done() for task in others)
    (await gate.acquire("b"))()
    release()
    await settle()
    assert [task.done() for task in others] == [True, False, False, False]
    for task in others:
        task.cancel()


async def test_keys_are_served_in_turn() -> None:
    gate, order = semaphore(slots=1), []

    async def work(owner: str) -> None:
        async with gate.slot(owner):
            order.append(owner)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(owner) for owner in ("a", "a", "a", "b", "c")))
    assert order[:3] in (["a", "b", "c"], ["a", "c", "b"])


async def test_a_server_without_keys_uses_all_slots() -> None:
    gate = semaphore(slots=2, per_key=1)
    async with gate.slot(""), gate.slot(""):
        assert gate.running == 2


async def test_cancelled_work_holds_no_slot() -> None:
    gate = semaphore(slots=1)
    release = await gate.acquire("a")
    waiting = [asyncio.create_task(gate.acquire(owner)) for owner in ("a", "b")]
    await settle()
    for task in waiting:
        task.cancel()
    release()
    await settle()
    assert gate.running == 0
    # Cancelled at the moment in which it gets its slot.
    release = await gate.acquire("a")
    late = asyncio.create_task(gate.acquire("b"))
    await settle()
    release()
    late.cancel()
    await settle()
    assert gate.running == 0


async def test_a_full_queue_of_a_key_and_a_late_slot_are_refused() -> None:
    gate = semaphore(slots=1, queued=1, wait_s=0.05)
    release = await gate.acquire("a")
    waiting = asyncio.create_task(gate.acquire("a"))
    await settle()
    with pytest.raises(Overloaded) as full:
        await gate.acquire("a")
    assert full.value.retry_after_s
    with pytest.raises(Overloaded):
        await waiting
    release()
    (await gate.acquire("a"))()
    assert gate.running == 0


async def test_a_thread_keeps_its_slot_until_its_work_is_done() -> None:
    gate, go = semaphore(slots=1), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        running = asyncio.create_task(gate.run_in_thread(threads, "a", go.wait))
        await settle()
        running.cancel()
        await settle()
        assert gate.running == 1
        go.set()
        async with gate.slot("a"):
            assert gate.running == 1
    assert gate.running == 0


async def test_an_exception_of_the_work_reaches_the_caller() -> None:
    gate = semaphore()
    with ThreadPoolExecutor(1) as threads, pytest.raises(ZeroDivisionError):
        await gate.run_in_thread(threads, "a", lambda: 1 // 0)
    assert gate.running == 0
