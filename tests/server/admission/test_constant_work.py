"""The work of one start or one end does not grow with the number of waiting requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.admission.cost_model import RequestSize, SpeechDemand
from antiphon_server.admission.fair_queue import FairQueue
from antiphon_server.admission.reservation import Reservation
from tests.server.admission.admitting import LIVE, controller, settle, started
from tests.server.admission.test_fair_queue import OWNERS, Item


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The waiting requests that a search for the next start has looked at."""
    seen: list[Any] = []
    in_order = FairQueue.in_order

    def watched(queue: FairQueue[Any], running: Mapping[str, int]) -> Iterator[Any]:
        for one in in_order(queue, running):
            seen.append(one)
            yield one

    monkeypatch.setattr(FairQueue, "in_order", watched)
    return seen


async def looks_for_one_release(looked_at: list[Any], waiting: int, speech: SpeechDemand | None) -> int:
    """How many requests are looked at when one of two that run ends, and the next one starts."""
    admission = controller(sequences=2 if speech is None else 4, streams=2, queued_requests=waiting)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await started(first, admission, speech)
        await started(stack, admission, speech)
        reservations = [
            stack.enter_context(admission.admit(Reservation(speech=speech))) for _ in range(waiting)
        ]
        slots = [asyncio.create_task(admission.wait_for_slot(one, RequestSize())) for one in reservations]
        await settle()
        looked_at.clear()
        await first.aclose()
        looks = len(looked_at)
        assert sum(one.started_at is not None for one in reservations) == 1
        for slot in slots:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        return looks


@pytest.mark.parametrize("speech", [None, LIVE])
async def test_one_release_looks_at_as_many_requests_whatever_the_queue(
    looked_at: list[Any], speech: SpeechDemand | None
) -> None:
    few, many = [await looks_for_one_release(looked_at, waiting, speech) for waiting in (3, 300)]
    assert few == many == 1


async def test_a_full_server_looks_at_no_request(looked_at: list[Any]) -> None:
    admission = controller(sequences=1, queued_requests=300)
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        reservations = [stack.enter_context(admission.admit(Reservation())) for _ in range(100)]
        slots = [asyncio.create_task(admission.wait_for_slot(one, RequestSize())) for one in reservations]
        looked_at.clear()
        await settle()
        admission.recheck()
        assert not looked_at
        for slot in slots:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)


@given(OWNERS, st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)), st.integers(0, 20))
def test_the_order_is_that_of_a_sort_by_running_last_start_and_arrival(
    owners: list[str], running: dict[str, int], starts: int
) -> None:
    queue: FairQueue[Item] = FairQueue()
    items = [Item(owner) for owner in owners]
    for item in items:
        queue.add(item)
    served: dict[str, int] = {}
    waiting = list(items)
    for number in range(min(starts, len(items) - 1)):
        item = next(queue.in_order(running))
        queue.mark_started(item)
        served[item.owner] = number + 1
        waiting.remove(item)

    def rank(item: Item) -> tuple[int, int, int]:
        return running.get(item.owner, 0), served.get(item.owner, 0), items.index(item)

    assert list(queue.in_order(running)) == sorted(waiting, key=rank)
    assert len(queue) == len(waiting)
