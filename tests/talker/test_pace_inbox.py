"""Cursors reach the Talker's scheduler, and how many streams rest reaches the bridge, over real sockets."""

from __future__ import annotations

import asyncio
import time

import pytest

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.ipc.bridge import FRESH_S, Bridge, SocketFolder
from antiphon_executor.ipc.messages import ClientCursor, StepTimesTold
from antiphon_executor.ipc.pace_socket import TIMES_AGAIN_S, TIMES_EVERY_S, PaceSocket


async def becomes(condition: object, within_s: float = 5.0) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


async def test_cursors_arrive_in_their_order_and_the_number_of_resting_streams_comes_back() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        inbox = PaceSocket(folder.pace, folder.frames)
        try:
            bridge.send_cursor(4, 1_920)
            bridge.send_cursor(4, 3_840)
            came: list[ClientCursor] = []
            assert await becomes(lambda: came.extend(inbox.drain()) or len(came) == 2)
            assert came == [ClientCursor(4, 1_920), ClientCursor(4, 3_840)]
            inbox.tell_parked(3)
            assert await becomes(lambda: bridge.parked == 3)
            bridge.talker_died()
            assert bridge.parked == 0
        finally:
            inbox.close()
    folder.close()


async def test_how_long_steps_take_is_told_now_and_then_where_it_has_changed() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        inbox = PaceSocket(folder.pace, folder.frames)
        told = StepTimesTold((0.02, 0.03), live_streams=5, opening_s=0.05)
        asked: list[float] = []

        def times() -> StepTimesTold:
            asked.append(1)
            return told

        try:
            assert bridge.frame_time == FrameTime()
            inbox.tell_times(10.0, lambda: None)
            inbox.tell_times(10.01, times)
            assert await becomes(lambda: bridge.frame_time == FrameTime((0.02, 0.03), 5, 0.05))
            inbox.tell_times(10.02, times)
            assert len(asked) == 1
            inbox.tell_times(10.02 + TIMES_EVERY_S, times)
            inbox.tell_times(10.03 + TIMES_EVERY_S, times)
            assert len(asked) == 2, "no news is worked out no more often than news"
            told = StepTimesTold((0.04, 0.09), live_streams=1, opening_s=0.1)
            inbox.tell_times(10.03 + 2 * TIMES_EVERY_S, times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == 1)
            bridge.talker_died()
            assert bridge.frame_time == FrameTime()
        finally:
            inbox.close()
    folder.close()


async def test_without_a_talker_cursors_are_dropped_and_nobody_waits() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        began = time.monotonic()
        for number in range(20_000):
            bridge.send_cursor(1, number)
        assert time.monotonic() - began < 5
    folder.close()


@pytest.mark.parametrize(("told", "aged"), [(0, 1), (1, 1), (5, 3), (16, 8)])
async def test_what_the_talker_has_not_said_again_counts_half_and_one_stream_at_least(
    told: int, aged: int
) -> None:
    """An idle Talker measures nothing: what it said last refused streams, or let them in, for hours."""
    now_s = [1_000.0]
    folder = SocketFolder()
    async with Bridge(folder, lambda: now_s[0]) as bridge:
        inbox = PaceSocket(folder.pace, folder.frames)
        times = StepTimesTold((0.02,), live_streams=told, opening_s=0.05)
        try:
            inbox.tell_times(10.0, lambda: times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == told)
            now_s[0] += FRESH_S - 1
            assert bridge.frame_time.live_stream_limit == told
            now_s[0] += 2
            assert bridge.frame_time == FrameTime((0.02,), aged, 0.05)
            inbox.tell_times(10.0 + TIMES_AGAIN_S, lambda: times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == told)
        finally:
            inbox.close()
    folder.close()
