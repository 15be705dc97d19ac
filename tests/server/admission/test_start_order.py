"""The start of waiting requests: as speech or text, by key, and after the Talker became faster."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack

import pytest

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import RECHECK_S, AdmissionController
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import Overloaded
from tests.server.admission.admitting import LIVE, OPTIONAL, append_when_started, controller, settle, started


async def test_optional_speech_starts_as_speech_if_a_stream_is_free_and_else_as_text() -> None:
    admission = controller(sequences=4, streams=1, queued_requests=10)
    async with AsyncExitStack() as stack:
        assert (await started(stack, admission, OPTIONAL)).kind == "speech"
        assert (await started(stack, admission, OPTIONAL)).kind == "text"
        assert admission.load.running.streams == 1
        assert admission.load.fell_back == 1
    assert (admission.load.running.streams, admission.load.running.sequences) == (0, 0)
    async with AsyncExitStack() as stack:
        assert (await started(stack, controller(streams=0), OPTIONAL)).kind == "text"


async def test_optional_speech_is_decided_when_it_starts() -> None:
    """The stream becomes free before the text slot does."""
    admission = controller(sequences=2, streams=1, queued_requests=10)
    async with AsyncExitStack() as stack:
        text = await stack.enter_async_context(AsyncExitStack())
        await started(text, admission)
        speech = await stack.enter_async_context(AsyncExitStack())
        await started(speech, admission, LIVE)
        reservation = stack.enter_context(admission.admit(Reservation(speech=OPTIONAL)))
        starting = asyncio.create_task(admission.wait_for_slot(reservation, RequestSize()))
        await settle()
        assert not starting.done()
        await speech.aclose()
        await asyncio.wait_for(starting, 60)
        assert (reservation.kind, admission.load.fell_back) == ("speech", 0)


async def test_at_the_deadline_a_key_at_its_limit_gets_429_and_not_503() -> None:
    admission = AdmissionController(Capacity(4, 4, 20, 100, 0.05, 1_000, requests_per_key=1))
    async with AsyncExitStack() as stack:
        first = stack.enter_context(admission.admit(Reservation("a")))
        await admission.wait_for_slot(first, RequestSize())
        with pytest.raises(Overloaded) as caught, admission.admit(Reservation("a")) as second:
            await admission.wait_for_slot(second, RequestSize())
    assert (caught.value.code, caught.value.status) == ("key_concurrency", 429)
    assert caught.value.retry_after_s is not None
    assert admission.load.refused == {"key_concurrency": 1}


async def test_retry_after_does_not_follow_clients_that_leave_early() -> None:
    now = 0.0
    admission = AdmissionController(Capacity(1, 1, 0, 0, 30, 0), clock=lambda: now)

    async def retry_after_s() -> float:
        async with AsyncExitStack() as stack:
            await started(stack, admission)
            with pytest.raises(Overloaded) as caught:
                await started(stack, admission)
            return caught.value.retry_after_s or 0.0

    for _ in range(20):
        async with AsyncExitStack() as stack:
            await started(stack, admission)
            now += 20.0
    learned = await retry_after_s()
    for _ in range(200):
        with contextlib.suppress(asyncio.CancelledError):
            async with AsyncExitStack() as stack:
                await started(stack, admission)
                raise asyncio.CancelledError
    assert await retry_after_s() > learned * 0.6


async def test_waiting_live_streams_share_one_timer_that_ends_with_them() -> None:
    looks = 0

    def frame_time() -> FrameTime:
        nonlocal looks
        looks += 1
        return FrameTime((0.079,), live_stream_limit=1)

    admission = AdmissionController(Capacity(100, 100, 100, 100, 3_600, 1_000), frame_time)
    async with AsyncExitStack() as stack:
        await started(stack, admission, LIVE)
        tasks = [asyncio.create_task(append_when_started(admission, [], "", LIVE)) for _ in range(50)]
        await settle()
        assert admission.load.waiting_speech == 50
        looks = 0
        await asyncio.sleep(4 * RECHECK_S)
        assert 1 <= looks <= 8
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    looks = 0
    await asyncio.sleep(2 * RECHECK_S)
    assert looks == 0
