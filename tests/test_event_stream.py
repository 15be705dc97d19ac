"""The stream of a request's events: bounded, with timeouts, and closed with all that the engine holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from antiphon_executor.interface.event_stream import (
    MAX_QUEUED_EVENTS,
    EndOfStream,
    EventStream,
    IdleTimeout,
)
from antiphon_executor.interface.events import OmniEvent, TextDelta
from tests.simulated_time import on_simulated_time


def event(number: int) -> TextDelta:
    return TextDelta(0, str(number), 1)


class Engine:
    """Puts `count` events, then ends or raises. `put`: how many have entered the queue."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.put = 0
        self.released = False
        self._count = count
        self._error = error
        self.stream = EventStream(self._produce)

    async def _produce(self, stream: EventStream) -> None:
        try:
            for number in range(self._count):
                await stream.put(event(number))
                self.put += 1
            if self._error is not None:
                raise self._error
        finally:
            await asyncio.sleep(0)
            self.released = True


async def test_all_events_come_in_order_and_then_the_end_again_and_again() -> None:
    stream = Engine(200).stream
    assert [one async for one in stream] == [event(number) for number in range(200)]
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await stream.next()


@on_simulated_time
async def test_nothing_starts_before_the_first_read() -> None:
    engine = Engine(1)
    await asyncio.sleep(0.01)
    assert not engine.put
    await engine.stream.next()
    assert engine.put


@on_simulated_time
async def test_a_reader_that_stops_stops_the_engine_at_the_bound() -> None:
    engine = Engine(1_000)
    await engine.stream.next()
    await asyncio.sleep(0.01)
    assert engine.put == MAX_QUEUED_EVENTS + 1
    assert len(engine.stream.take_ready()) == MAX_QUEUED_EVENTS
    await engine.stream.aclose()


@on_simulated_time
async def test_an_error_comes_behind_the_events_before_it() -> None:
    engine = Engine(2, RuntimeError("dead"))
    assert await engine.stream.next() == event(0)
    await asyncio.sleep(0.01)
    assert engine.stream.take_ready() == [event(1)]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="dead"):
            await engine.stream.next()
    assert engine.stream.take_ready() == []


async def test_a_timeout_loses_nothing() -> None:
    wake = asyncio.Event()

    async def produce(stream: EventStream) -> None:
        await wake.wait()
        await stream.put(event(7))

    stream = EventStream(produce)
    with pytest.raises(IdleTimeout):
        await stream.next(0.01)
    wake.set()
    assert await stream.next(1.0) == event(7)


async def test_closing_returns_when_the_engine_has_released_all() -> None:
    engine = Engine(1_000)
    async with engine.stream as stream:
        await stream.next()
    assert engine.released
    with pytest.raises(EndOfStream):
        await engine.stream.next()


@on_simulated_time
async def test_a_reader_that_is_cancelled_ends_the_request() -> None:
    closed = asyncio.Event()

    async def hang() -> AsyncGenerator[OmniEvent]:
        try:
            yield event(0)
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = EventStream.of(hang())
    await stream.next()
    reader = asyncio.create_task(stream.next())
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert closed.is_set()


async def test_waits_that_end_early_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_at = loop.call_at
    monkeypatch.setattr(loop, "call_at", lambda *args: timers.append(args) or call_at(*args))

    async def produce(stream: EventStream) -> None:
        for number in range(100):
            await asyncio.sleep(0)
            await stream.put(event(number))

    async with EventStream(produce) as stream:
        for number in range(100):
            assert await stream.next(15.0) == event(number)
    assert len(timers) == 1


@on_simulated_time
async def test_each_wait_has_its_own_timeout() -> None:
    """A shorter wait after a longer one, and a longer one after a shorter: each ends when it is due."""
    loop = asyncio.get_running_loop()

    async def produce(_: EventStream) -> None:
        await asyncio.Event().wait()

    async with EventStream(produce) as stream:
        for timeout_s in (0.2, 0.05, 0.0, 0.15):
            began_s = loop.time()
            with pytest.raises(IdleTimeout):
                await stream.next(timeout_s)
            assert loop.time() - began_s >= timeout_s - 0.002
        reader = asyncio.create_task(stream.next(30.0))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_two_producers_that_wait_for_room_both_go_on() -> None:
    async def produce(stream: EventStream) -> None:
        async def put_many(first: int) -> None:
            for number in range(first, first + 200):
                await stream.put(event(number))

        await asyncio.gather(put_many(0), put_many(200))

    stream = EventStream(produce)
    read = [int(one.text) async for one in stream if isinstance(one, TextDelta)]
    assert sorted(read) == list(range(400))
    for first in (0, 200):
        assert [one for one in read if first <= one < first + 200] == list(range(first, first + 200))


async def test_a_sink_gets_only_what_a_waiting_reader_would_get_and_may_decline() -> None:
    taken: list[str] = []

    def sink(one: OmniEvent) -> bool:
        assert isinstance(one, TextDelta)
        if int(one.text) % 5 == 4:
            return False
        taken.append(one.text)
        return True

    async def produce(stream: EventStream) -> None:
        for number in range(20):
            await stream.put(event(number))

    async with EventStream(produce) as stream:
        stream.divert(sink)
        read = [one.text async for one in stream if isinstance(one, TextDelta)]
    # The reader is awake from the first event that the sink declines, so it gets all the others.
    assert taken == ["0", "1", "2", "3"]
    assert read == [str(number) for number in range(4, 20)]


@on_simulated_time
async def test_a_reader_waits_for_its_timeout_after_the_last_event_that_a_sink_took() -> None:
    loop = asyncio.get_running_loop()
    ended_s = 0.0

    async def produce(stream: EventStream) -> None:
        nonlocal ended_s
        for number in range(5):
            await asyncio.sleep(0.1)
            await stream.put(event(number))
        ended_s = loop.time()
        await asyncio.Event().wait()

    async with EventStream(produce) as stream:
        stream.divert(lambda one: True)
        with pytest.raises(IdleTimeout):
            await stream.next(0.25)
        assert loop.time() - ended_s >= 0.248


async def test_a_fault_of_a_sink_ends_the_stream() -> None:
    def sink(_: OmniEvent) -> bool:
        raise RuntimeError("cannot write")

    engine = Engine(3)
    engine.stream.divert(sink)
    with pytest.raises(RuntimeError, match="cannot write"):
        await engine.stream.next()
    assert engine.released
