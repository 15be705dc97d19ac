"""Admission: bounded queues, first come first served, fair between keys; speech never blocks text."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from types import FrameType

import pytest

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import Overloaded, Unavailable
from tests.server.admission.admitting import LIVE, append_when_started, controller, settle, started


async def test_a_request_holds_its_slots_and_releases_them() -> None:
    admission = controller()
    async with AsyncExitStack() as stack:
        await started(stack, admission, LIVE)
        assert (admission.load.running.sequences, admission.load.running.streams) == (1, 1)
    assert (admission.load.running.sequences, admission.load.running.streams, admission.requests) == (0, 0, 0)


async def test_a_full_queue_refuses_immediately_with_retry_after() -> None:
    admission = controller(sequences=1, queued_requests=1)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            stack.enter_context(admission.admit(Reservation()))
        with pytest.raises(Overloaded) as caught:
            stack.enter_context(admission.admit(Reservation()))
    assert caught.value.code == "queue_full"
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 60
    assert admission.requests == 0


async def test_text_is_not_blocked_by_full_speech_slots() -> None:
    admission = controller(sequences=3, streams=1, queued_requests=1)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        await started(stack, admission, LIVE)
        spoken = asyncio.create_task(append_when_started(admission, order, "speech", LIVE))
        await settle()
        with pytest.raises(Overloaded):
            stack.enter_context(admission.admit(Reservation(speech=LIVE)))
        await asyncio.wait_for(append_when_started(admission, order, "text"), 60)
        assert order == ["text"]
    await asyncio.wait_for(spoken, 60)
    assert order == ["text", "speech"]


async def test_a_complete_text_frees_its_slot_while_its_speech_continues() -> None:
    admission = controller(sequences=1, streams=2)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        speaking = await started(stack, admission, LIVE)
        waiting = asyncio.create_task(append_when_started(admission, order, "text"))
        await settle()
        assert order == []
        admission.release_text(speaking)
        admission.release_text(speaking)
        await asyncio.wait_for(waiting, 60)
        assert admission.load.running.streams == 1
    assert admission.load.running.sequences == 0


async def test_requests_start_in_the_order_of_arrival() -> None:
    admission = controller(sequences=1, streams=1, queued_requests=5)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        names = [("a", None), ("b", LIVE), ("c", None)]
        tasks = [
            asyncio.create_task(append_when_started(admission, order, name, speech)) for name, speech in names
        ]
        await settle()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert order == ["a", "b", "c"]


async def test_the_queue_deadline_is_a_503_and_holds_nothing() -> None:
    admission = controller(sequences=1, queue_s=0.05)
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        with pytest.raises(Unavailable) as caught:
            await started(stack, admission)
    assert caught.value.code == "queue_deadline"
    assert admission.requests == 0
    async with AsyncExitStack() as stack:
        await started(stack, admission)


async def test_a_cancelled_wait_frees_its_place_in_the_queue() -> None:
    admission = controller(sequences=1, queued_requests=1)
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        waiting = asyncio.create_task(append_when_started(admission, [], "gone"))
        await settle()
        waiting.cancel()
        await settle()
        assert (admission.requests, admission.load.waiting_text) == (1, 0)
    assert admission.load.running.sequences == 0


async def test_the_slot_of_a_request_cancelled_at_its_start_is_not_lost() -> None:
    admission = controller(sequences=1)
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        waiting = asyncio.create_task(append_when_started(admission, [], "gone"))
        await settle()
    waiting.cancel()
    await settle()
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        assert admission.load.running.sequences == 1


async def test_media_beyond_the_queues_limit_in_seconds_are_refused() -> None:
    admission = controller(sequences=1, queued_requests=5, media_seconds=100)

    async def wait_with(seconds: float) -> None:
        with admission.admit(Reservation()) as reservation:
            await admission.wait_for_slot(reservation, RequestSize(media_seconds=seconds))

    async with AsyncExitStack() as stack:
        await started(stack, admission)
        first = asyncio.create_task(wait_with(80))
        await settle()
        assert admission.load.queued_media_seconds == 80
        with pytest.raises(Overloaded, match="80 s"):
            await wait_with(30)
    await asyncio.wait_for(first, 60)
    assert admission.load.queued_media_seconds == 0


async def test_the_media_of_all_requests_share_one_memory_limit() -> None:
    admission = controller(sequences=1, media_bytes=100)
    with admission.admit(Reservation()) as waiting:
        admission.hold_media(waiting, 60)
        with admission.admit(Reservation()) as other:
            admission.hold_media(other, 40)
            with pytest.raises(Overloaded) as caught:
                admission.hold_media(other, 1)
        assert caught.value.code == "media_memory_full"
        assert admission.load.media_bytes == 60
    assert admission.load.media_bytes == 0


async def test_a_request_alone_with_its_media_is_not_refused() -> None:
    admission = controller(media_bytes=100)
    with admission.admit(Reservation()) as alone:
        admission.hold_media(alone, 60)
        admission.hold_media(alone, 60)
        assert admission.load.media_bytes == 120


async def test_each_choice_takes_a_text_slot_up_to_all_of_them() -> None:
    admission = controller(sequences=2)
    async with AsyncExitStack() as stack:
        await started(stack, admission, choices=4)
        assert admission.load.running.sequences == 2


async def test_a_server_without_a_talker_refuses_speech() -> None:
    with pytest.raises(Unavailable, match="no speech output"):
        controller(streams=0).enter(Reservation(speech=LIVE))


async def test_retry_after_follows_the_duration_of_requests() -> None:
    now = 0.0
    admission = AdmissionController(Capacity(1, 1, 0, 0, 30, 0), clock=lambda: now)

    async def retry_after_s() -> float:
        async with AsyncExitStack() as stack:
            await started(stack, admission)
            with pytest.raises(Overloaded) as caught:
                await started(stack, admission)
            return caught.value.retry_after_s or 0.0

    before = await retry_after_s()
    for _ in range(20):
        async with AsyncExitStack() as stack:
            await started(stack, admission)
            now += 20.0
    assert await retry_after_s() > before * 3


async def flood(
    stack: AsyncExitStack, admission: AdmissionController, order: list[str], owner: str, number: int
) -> list[asyncio.Task[None]]:
    """`number` requests of one key, in order. Each appends its key to `order` when it starts, and ends."""

    async def one() -> None:
        with admission.admit(Reservation(owner)) as reservation:
            await admission.wait_for_slot(reservation, RequestSize())
            order.append(owner)
            await asyncio.sleep(0)

    tasks = []
    for _ in range(number):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
    stack.callback(lambda: [task.cancel() for task in tasks])
    return tasks


async def test_a_key_with_nothing_running_starts_before_a_flooding_key() -> None:
    admission = controller(sequences=2, queued_requests=50)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            for _ in range(2):
                reservation = running.enter_context(admission.admit(Reservation("flood")))
                await admission.wait_for_slot(reservation, RequestSize())
            many = await flood(stack, admission, order, "flood", 20)
            few = await flood(stack, admission, order, "calm", 2)
        await asyncio.wait_for(asyncio.gather(*many, *few), 60)
    # Two slots became free: `calm` had nothing running, and then as much as `flood`.
    assert order[0] == "calm"
    assert order.index("calm", 1) <= 3
    assert order.count("flood") == 20


async def test_waiting_keys_are_served_in_turn() -> None:
    admission = controller(sequences=1, queued_requests=50)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            await started(running, admission)
            tasks = [task for owner in "abc" for task in await flood(stack, admission, order, owner, 4)]
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert order == ["a", "b", "c"] * 4


async def test_a_full_queue_evicts_the_newest_request_of_the_key_with_most() -> None:
    admission = controller(sequences=1, queued_requests=4)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            await started(running, admission)
            many = await flood(stack, admission, order, "flood", 4)
            few = await flood(stack, admission, order, "calm", 3)
            await settle()
            refused = [task for task in [*many, *few] if task.done()]
            # Two of `flood` were evicted. A third of `calm` would have made its own key the one with most.
            assert refused == [many[2], many[3], few[2]]
            assert [_code_of(task) for task in refused] == ["displaced", "displaced", "queue_full"]
        await asyncio.wait_for(asyncio.gather(many[0], many[1], few[0], few[1]), 60)
    assert sorted(order) == ["calm", "calm", "flood", "flood"]
    assert admission.load.refused == {"displaced": 2, "queue_full": 1}
    assert (admission.requests, admission.load.waiting_text, admission.load.running.sequences) == (0, 0, 0)


def _code_of(task: asyncio.Task[None]) -> str:
    error = task.exception()
    assert isinstance(error, Overloaded)
    assert error.retry_after_s is not None
    return error.code


async def test_a_request_evicted_while_its_media_are_read_is_refused_at_the_next() -> None:
    admission = controller(sequences=1, queued_requests=2)
    async with AsyncExitStack() as stack:
        await started(stack, admission)
        first, second = [stack.enter_context(admission.admit(Reservation("flood"))) for _ in range(2)]
        stack.enter_context(admission.admit(Reservation("calm")))
        admission.hold_media(first, 1)
        with pytest.raises(Overloaded) as caught:
            admission.hold_media(second, 1)
        assert caught.value.code == "displaced"
        with pytest.raises(Overloaded):
            await admission.wait_for_slot(second, RequestSize())


async def test_a_key_at_its_concurrency_limit_does_not_block_another() -> None:
    admission = AdmissionController(Capacity(4, 4, 20, 100, 30, 1_000, requests_per_key=2))
    order: list[str] = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            reservation = stack.enter_context(admission.admit(Reservation("a")))
            await asyncio.wait_for(admission.wait_for_slot(reservation, RequestSize()), 60)
        (waiting,) = await flood(stack, admission, order, "a", 1)
        (other,) = await flood(stack, admission, order, "b", 1)
        await settle()
        assert (waiting.done(), other.done(), order) == (False, True, ["b"])
        assert admission.load.keys == 1
    await asyncio.wait({waiting})
    assert admission.load.keys == 0


@pytest.mark.parametrize("tokens_per_minute", [0, 1_000_000])
async def test_counting_a_token_takes_at_most_three_calls(tokens_per_minute: int) -> None:
    capacity = Capacity(4, 4, 20, 100, 30, 1_000, tokens_per_minute=tokens_per_minute)
    admission = AdmissionController(replace(capacity, audio_seconds_per_minute=1e6))
    calls: list[str] = []

    def record(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_qualname)

    async with AsyncExitStack() as stack:
        reservation = await started(stack, admission, LIVE)
        sys.setprofile(record)
        try:
            admission.count_text(reservation, 1)
        finally:
            sys.setprofile(None)
    assert 0 < len(calls) <= 3, calls
