"""Cursors reach the Talker's scheduler and reports reach the bridge, over real sockets."""

from __future__ import annotations

import asyncio
import time

import pytest

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.ipc.bridge import FRESH_S, Bridge, SocketFolder
from antiphon_executor.ipc.messages import ClientCursor, StepTimesReport
from antiphon_executor.ipc.pace_socket import TIMES_AGAIN_S, TIMES_EVERY_S, PaceSocket
from tests.machine import slowness


async def becomes(condition: object, within_s: float = 60.0) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


async def test_cursors_arrive_in_order_and_the_number_of_paused_streams_comes_back() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        pace_socket = PaceSocket(folder.pace, folder.frames)
        try:
            bridge.send_cursor(4, 1_920)
            bridge.send_cursor(4, 3_840)
            came: list[ClientCursor] = []
            assert await becomes(lambda: came.extend(pace_socket.drain_cursors()) or len(came) == 2)
            assert came == [ClientCursor(4, 1_920), ClientCursor(4, 3_840)]
            pace_socket.report_paused(3)
            assert await becomes(lambda: bridge.paused_streams == 3)
            bridge.reset_talker_reports()
            assert bridge.paused_streams == 0
        finally:
            pace_socket.close()
    folder.close()


async def test_step_times_are_reported_at_intervals_when_they_have_changed() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        pace_socket = PaceSocket(folder.pace, folder.frames)
        told = StepTimesReport((0.02, 0.03), live_stream_limit=5, startup_buffer_s=0.05)
        asked: list[float] = []

        def times() -> StepTimesReport:
            asked.append(1)
            return told

        try:
            assert bridge.frame_time == FrameTime()
            pace_socket.report_step_times(10.0, lambda: None)
            pace_socket.report_step_times(10.01, times)
            assert await becomes(lambda: bridge.frame_time == FrameTime((0.02, 0.03), 5, 0.05))
            pace_socket.report_step_times(10.02, times)
            assert len(asked) == 1
            pace_socket.report_step_times(10.02 + TIMES_EVERY_S, times)
            pace_socket.report_step_times(10.03 + TIMES_EVERY_S, times)
            assert len(asked) == 2, "no news is worked out no more often than news"
            told = StepTimesReport((0.04, 0.09), live_stream_limit=1, startup_buffer_s=0.1)
            pace_socket.report_step_times(10.03 + 2 * TIMES_EVERY_S, times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == 1)
            told = StepTimesReport((0.04, 0.09), live_stream_limit=1, startup_buffer_s=0.2)
            pace_socket.send_step_times(10.04 + 2 * TIMES_EVERY_S, told)
            assert await becomes(lambda: bridge.frame_time.startup_buffer_s == 0.2)
            bridge.reset_talker_reports()
            assert bridge.frame_time == FrameTime()
        finally:
            pace_socket.close()
    folder.close()


async def test_without_a_talker_cursors_are_dropped_and_nothing_blocks() -> None:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        began = time.monotonic()
        for number in range(20_000):
            bridge.send_cursor(1, number)
        assert time.monotonic() - began < 5 * slowness()
    folder.close()


@pytest.mark.parametrize(("told", "aged"), [(0, 1), (1, 1), (5, 3), (16, 8)])
async def test_a_stale_report_of_the_talker_counts_half_and_at_least_one_stream(told: int, aged: int) -> None:
    """An idle Talker measures nothing: its last report once refused or admitted streams for hours."""
    now_s = [1_000.0]
    folder = SocketFolder()
    async with Bridge(folder, lambda: now_s[0]) as bridge:
        pace_socket = PaceSocket(folder.pace, folder.frames)
        times = StepTimesReport((0.02,), live_stream_limit=told, startup_buffer_s=0.05)
        try:
            pace_socket.report_step_times(10.0, lambda: times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == told)
            now_s[0] += FRESH_S - 1
            assert bridge.frame_time.live_stream_limit == told
            now_s[0] += 2
            assert bridge.frame_time == FrameTime((0.02,), aged, 0.05)
            pace_socket.report_step_times(10.0 + TIMES_AGAIN_S, lambda: times)
            assert await becomes(lambda: bridge.frame_time.live_stream_limit == told)
        finally:
            pace_socket.close()
    folder.close()
