"""How waiting requests start: as speech or as text, by key, and when the Talker has become faster."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack

import pytest

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import LOOK_AGAIN_S, Admission
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import Overloaded
from tests.server.test_admission import door, settle, turn, waiter


async def optional(stack: AsyncExitStack, admission: Admission) -> Reservation:
    """A spoken request that takes text where no stream is free; it has its slot."""
    ticket = await stack.enter_async_context(admission.reserve(speaks=True, speech_optional=True))
    await asyncio.wait_for(ticket.start(), 1)
    return ticket


async def test_optional_speech_starts_as_speech_while_a_stream_is_free_and_else_as_text_at_once() -> None:
    admission = door(sequences=4, streams=1, queued_turns=10)
    async with AsyncExitStack() as stack:
        assert (await optional(stack, admission)).speaks
        assert not (await optional(stack, admission)).speaks
        assert admission.load.running_streams == 1
        assert admission.load.softened == 1
    assert (admission.load.running_streams, admission.load.running_sequences) == (0, 0)
    async with AsyncExitStack() as stack:
        assert not (await optional(stack, door(streams=0))).speaks


async def test_optional_speech_that_waits_for_a_text_slot_takes_the_stream_that_is_free_when_it_starts() -> (
    None
):
    """The stream comes free before the text slot does: it is decided at the start, and not when it came."""
    admission = door(sequences=2, streams=1, queued_turns=10)
    async with AsyncExitStack() as stack:
        text = await stack.enter_async_context(AsyncExitStack())
        await turn(text, admission)
        speech = await stack.enter_async_context(AsyncExitStack())
        await turn(speech, admission, speaks=True)
        ticket = await stack.enter_async_context(admission.reserve(speaks=True, speech_optional=True))
        starting = asyncio.create_task(ticket.start())
        await settle()
        assert not starting.done()
        await speech.aclose()
        await asyncio.wait_for(starting, 1)
        assert (ticket.speaks, admission.load.softened) == (True, 0)


async def test_a_key_that_runs_as_many_as_it_may_hears_that_and_not_that_no_slot_is_free() -> None:
    admission = Admission(Capacity(4, 4, 20, 100, 0.05, 1_000, turns_per_key=1))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(admission.reserve(speaks=False, owner="a"))
        await first.start()
        with pytest.raises(Overloaded) as caught:
            async with admission.reserve(speaks=False, owner="a") as second:
                await second.start()
    assert (caught.value.code, caught.value.status) == ("key_concurrency", 429)
    assert caught.value.retry_after_s is not None
    assert admission.load.refused == {"key_concurrency": 1}


async def test_the_promised_wait_does_not_follow_clients_who_leave_at_once() -> None:
    now = 0.0
    admission = Admission(Capacity(1, 1, 0, 0, 30, 0), clock=lambda: now)

    async def promised_s() -> float:
        async with AsyncExitStack() as stack:
            await turn(stack, admission)
            with pytest.raises(Overloaded) as caught:
                await turn(stack, admission)
            return caught.value.retry_after_s or 0.0

    for _ in range(20):
        async with AsyncExitStack() as stack:
            await turn(stack, admission)
            now += 20.0
    learned = await promised_s()
    for _ in range(200):
        with contextlib.suppress(asyncio.CancelledError):
            async with AsyncExitStack() as stack:
                await turn(stack, admission)
                raise asyncio.CancelledError
    assert await promised_s() > learned * 0.6


async def test_listeners_that_wait_share_one_timer_and_leave_none_behind() -> None:
    looks = 0

    def frame_time() -> FrameTime:
        nonlocal looks
        looks += 1
        return FrameTime((0.079,), live_stream_limit=1)

    admission = Admission(Capacity(100, 100, 100, 100, 3_600, 1_000), frame_time)
    async with AsyncExitStack() as stack:
        await turn(stack, admission, speaks=True)
        tasks = [asyncio.create_task(waiter(admission, [], "", speaks=True)) for _ in range(50)]
        await settle()
        assert admission.load.waiting_speech == 50
        looks = 0
        await asyncio.sleep(4 * LOOK_AGAIN_S)
        assert 1 <= looks <= 8
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    looks = 0
    await asyncio.sleep(2 * LOOK_AGAIN_S)
    assert looks == 0
