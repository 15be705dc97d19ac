"""Work beside the event loop: keys share its places, and what is cancelled gives its place back."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from antiphon_server.admission.key_lanes import KeyLanes, LaneLimits
from antiphon_server.errors import Overloaded


def lanes(places: int = 2, per_key: int = 1, queued: int = 8, wait_s: float = 30.0) -> KeyLanes:
    return KeyLanes(LaneLimits(places, per_key, queued, wait_s), "the work")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_key_that_floods_them_leaves_a_place_for_another() -> None:
    crowd = lanes(places=2, per_key=1)
    leave = await crowd.enter("a")
    others = [asyncio.create_task(crowd.enter("a")) for _ in range(4)]
    await settle()
    assert not any(task.done() for task in others)
    (await crowd.enter("b"))()
    leave()
    await settle()
    assert [task.done() for task in others] == [True, False, False, False]
    for task in others:
        task.cancel()


async def test_keys_take_turns() -> None:
    crowd, order = lanes(places=1), []

    async def work(owner: str) -> None:
        async with crowd.place(owner):
            order.append(owner)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(owner) for owner in ("a", "a", "a", "b", "c")))
    assert order[:3] in (["a", "b", "c"], ["a", "c", "b"])


async def test_a_server_without_keys_uses_all_places() -> None:
    crowd = lanes(places=2, per_key=1)
    async with crowd.place(""), crowd.place(""):
        assert crowd.running == 2


async def test_who_is_cancelled_while_waiting_or_running_holds_nothing() -> None:
    crowd = lanes(places=1)
    leave = await crowd.enter("a")
    waiting = [asyncio.create_task(crowd.enter(owner)) for owner in ("a", "b")]
    await settle()
    for task in waiting:
        task.cancel()
    leave()
    await settle()
    assert crowd.running == 0
    # Given its place and cancelled in the same moment.
    leave = await crowd.enter("a")
    late = asyncio.create_task(crowd.enter("b"))
    await settle()
    leave()
    late.cancel()
    await settle()
    assert crowd.running == 0


async def test_too_many_of_one_key_and_too_long_a_wait_are_refused() -> None:
    crowd = lanes(places=1, queued=1, wait_s=0.05)
    leave = await crowd.enter("a")
    waiting = asyncio.create_task(crowd.enter("a"))
    await settle()
    with pytest.raises(Overloaded) as full:
        await crowd.enter("a")
    assert full.value.retry_after_s
    with pytest.raises(Overloaded):
        await waiting
    leave()
    (await crowd.enter("a"))()
    assert crowd.running == 0


async def test_a_thread_keeps_its_place_until_it_is_done() -> None:
    crowd, go = lanes(places=1), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        running = asyncio.create_task(crowd.run(threads, "a", go.wait))
        await settle()
        running.cancel()
        await settle()
        assert crowd.running == 1
        go.set()
        async with crowd.place("a"):
            assert crowd.running == 1
    assert crowd.running == 0


async def test_what_the_work_raises_reaches_the_caller() -> None:
    crowd = lanes()
    with ThreadPoolExecutor(1) as threads, pytest.raises(ZeroDivisionError):
        await crowd.run(threads, "a", lambda: 1 // 0)
    assert crowd.running == 0
