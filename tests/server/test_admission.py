"""The door: bounded, first come first served, speech never in the way of text."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import Admission
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import Overloaded, Unavailable


def door(
    sequences: int = 2,
    streams: int = 1,
    queued_turns: int = 2,
    media_seconds: float = 100,
    queue_s: float = 30,
    media_bytes: int = 1_000,
) -> Admission:
    return Admission(Capacity(sequences, streams, queued_turns, media_seconds, queue_s, media_bytes))


async def turn(
    stack: AsyncExitStack, admission: Admission, *, speaks: bool = False, choices: int = 1
) -> Reservation:
    """A ticket that has its slot."""
    ticket = await stack.enter_async_context(admission.reserve(speaks=speaks, choices=choices))
    await asyncio.wait_for(ticket.start(), 1)
    return ticket


async def waiter(admission: Admission, order: list[str], name: str, *, speaks: bool = False) -> None:
    async with admission.reserve(speaks=speaks) as ticket:
        await ticket.start()
        order.append(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_turn_takes_its_slots_and_gives_them_back() -> None:
    admission = door()
    async with AsyncExitStack() as stack:
        await turn(stack, admission, speaks=True)
        assert (admission.load.running_sequences, admission.load.running_streams) == (1, 1)
    assert (admission.load.running_sequences, admission.load.running_streams, admission.turns) == (0, 0, 0)


async def test_beyond_the_queue_a_turn_is_refused_at_once_with_a_time_to_come_back() -> None:
    admission = door(sequences=1, queued_turns=1)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(admission.reserve(speaks=False))
        with pytest.raises(Overloaded) as caught:
            await stack.enter_async_context(admission.reserve(speaks=False))
    assert caught.value.code == "queue_full"
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 60
    assert admission.turns == 0


async def test_text_is_not_blocked_by_full_speech_slots() -> None:
    admission = door(sequences=3, streams=1, queued_turns=1)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        await turn(stack, admission, speaks=True)
        spoken = asyncio.create_task(waiter(admission, order, "speech", speaks=True))
        await settle()
        with pytest.raises(Overloaded):
            await stack.enter_async_context(admission.reserve(speaks=True))
        await asyncio.wait_for(waiter(admission, order, "text"), 1)
        assert order == ["text"]
    await asyncio.wait_for(spoken, 1)
    assert order == ["text", "speech"]


async def test_the_text_slot_is_free_once_the_text_is_written_while_the_speech_goes_on() -> None:
    admission = door(sequences=1, streams=2)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        speaking = await turn(stack, admission, speaks=True)
        waiting = asyncio.create_task(waiter(admission, order, "text"))
        await settle()
        assert order == []
        speaking.text_ended()
        speaking.text_ended()
        await asyncio.wait_for(waiting, 1)
        assert admission.load.running_streams == 1
    assert admission.load.running_sequences == 0


async def test_the_first_to_come_is_the_first_to_start() -> None:
    admission = door(sequences=1, streams=1, queued_turns=5)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        names = [("a", False), ("b", True), ("c", False)]
        tasks = [asyncio.create_task(waiter(admission, order, name, speaks=speaks)) for name, speaks in names]
        await settle()
    await asyncio.wait_for(asyncio.gather(*tasks), 1)
    assert order == ["a", "b", "c"]


async def test_waiting_past_the_deadline_is_a_503_and_leaves_nothing_behind() -> None:
    admission = door(sequences=1, queue_s=0.05)
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        with pytest.raises(Unavailable) as caught:
            await turn(stack, admission)
    assert caught.value.code == "queue_deadline"
    assert admission.turns == 0
    async with AsyncExitStack() as stack:
        await turn(stack, admission)


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    admission = door(sequences=1, queued_turns=1)
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        waiting = asyncio.create_task(waiter(admission, [], "gone"))
        await settle()
        waiting.cancel()
        await settle()
        assert (admission.turns, admission.load.waiting_text) == (1, 0)
    assert admission.load.running_sequences == 0


async def test_a_slot_handed_to_a_turn_that_is_cancelled_in_the_same_moment_is_not_lost() -> None:
    admission = door(sequences=1)
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        waiting = asyncio.create_task(waiter(admission, [], "gone"))
        await settle()
    waiting.cancel()
    await settle()
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        assert admission.load.running_sequences == 1


async def test_too_many_seconds_of_waiting_media_are_refused() -> None:
    admission = door(sequences=1, queued_turns=5, media_seconds=100)

    async def wait_with(seconds: float) -> None:
        async with admission.reserve(speaks=False) as ticket:
            await ticket.start(RequestSize(media_seconds=seconds))

    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        first = asyncio.create_task(wait_with(80))
        await settle()
        assert admission.load.queued_media_seconds == 80
        with pytest.raises(Overloaded, match="80 s"):
            await wait_with(30)
    await asyncio.wait_for(first, 1)
    assert admission.load.queued_media_seconds == 0


async def test_the_media_of_all_turns_share_one_bound_and_give_it_back() -> None:
    admission = door(sequences=1, media_bytes=100)
    async with admission.reserve(speaks=False) as waiting:
        waiting.hold(60)
        async with admission.reserve(speaks=False) as other:
            other.hold(40)
            with pytest.raises(Overloaded) as caught:
                other.hold(1)
        assert caught.value.code == "media_memory_full"
        assert admission.load.media_bytes == 60
    assert admission.load.media_bytes == 0


async def test_a_turn_that_is_alone_is_not_refused_for_its_size() -> None:
    admission = door(media_bytes=100)
    async with admission.reserve(speaks=False) as alone:
        alone.hold(60)
        alone.hold(60)
        assert admission.load.media_bytes == 120


async def test_choices_take_as_many_text_slots_but_never_more_than_there_are() -> None:
    admission = door(sequences=2)
    async with AsyncExitStack() as stack:
        await turn(stack, admission, choices=4)
        assert admission.load.running_sequences == 2


async def test_a_server_without_a_talker_says_so() -> None:
    with pytest.raises(Unavailable, match="does not speak"):
        async with door(streams=0).reserve(speaks=True):
            pass


async def test_the_promised_wait_follows_what_turns_take() -> None:
    now = 0.0
    admission = Admission(Capacity(1, 1, 0, 0, 30, 0), clock=lambda: now)

    async def promised_s() -> float:
        async with AsyncExitStack() as stack:
            await turn(stack, admission)
            with pytest.raises(Overloaded) as caught:
                await turn(stack, admission)
            return caught.value.retry_after_s or 0.0

    before = await promised_s()
    for _ in range(20):
        async with AsyncExitStack() as stack:
            await turn(stack, admission)
            now += 20.0
    assert await promised_s() > before * 3


async def flood(
    stack: AsyncExitStack, admission: Admission, order: list[str], owner: str, turns: int
) -> list[asyncio.Task[None]]:
    """`turns` of one key, one after the other at the door; each writes its name when it starts, and ends."""

    async def one() -> None:
        async with admission.reserve(speaks=False, owner=owner) as ticket:
            await ticket.start()
            order.append(owner)
            await asyncio.sleep(0)

    tasks = []
    for _ in range(turns):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
    stack.callback(lambda: [task.cancel() for task in tasks])
    return tasks


async def test_a_key_with_nothing_running_starts_before_one_that_floods() -> None:
    admission = door(sequences=2, queued_turns=50)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            for _ in range(2):
                ticket = await running.enter_async_context(admission.reserve(speaks=False, owner="flood"))
                await ticket.start()
            many = await flood(stack, admission, order, "flood", 20)
            few = await flood(stack, admission, order, "calm", 2)
        await asyncio.wait_for(asyncio.gather(*many, *few), 1)
    # Two slots came free: the calm key had nothing running, and then as much as the other.
    assert order[0] == "calm"
    assert order.index("calm", 1) <= 3
    assert order.count("flood") == 20


async def test_keys_that_all_wait_take_turns() -> None:
    admission = door(sequences=1, queued_turns=50)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            await turn(running, admission)
            tasks = [task for owner in "abc" for task in await flood(stack, admission, order, owner, 4)]
        await asyncio.wait_for(asyncio.gather(*tasks), 1)
    assert order == ["a", "b", "c"] * 4


async def test_a_full_queue_gives_its_newest_place_of_the_longest_key_to_another() -> None:
    admission = door(sequences=1, queued_turns=4)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as running:
            await turn(running, admission)
            many = await flood(stack, admission, order, "flood", 4)
            few = await flood(stack, admission, order, "calm", 3)
            await settle()
            refused = [task for task in [*many, *few] if task.done()]
            # Two of the flood made room; the third calm one would have made its own key the longer one.
            assert refused == [many[2], many[3], few[2]]
            assert [_code_of(task) for task in refused] == ["displaced", "displaced", "queue_full"]
        await asyncio.wait_for(asyncio.gather(many[0], many[1], few[0], few[1]), 1)
    assert sorted(order) == ["calm", "calm", "flood", "flood"]
    assert admission.load.refused == {"displaced": 2, "queue_full": 1}
    assert (admission.turns, admission.load.waiting_text, admission.load.running_sequences) == (0, 0, 0)


def _code_of(task: asyncio.Task[None]) -> str:
    error = task.exception()
    assert isinstance(error, Overloaded)
    assert error.retry_after_s is not None
    return error.code


async def test_a_turn_displaced_while_its_media_are_read_hears_of_it_with_the_next_of_them() -> None:
    admission = door(sequences=1, queued_turns=2)
    async with AsyncExitStack() as stack:
        await turn(stack, admission)
        first, second = [
            await stack.enter_async_context(admission.reserve(speaks=False, owner="flood")) for _ in range(2)
        ]
        await stack.enter_async_context(admission.reserve(speaks=False, owner="calm"))
        first.hold(1)
        with pytest.raises(Overloaded) as caught:
            second.hold(1)
        assert caught.value.code == "displaced"
        with pytest.raises(Overloaded):
            await second.start()


async def test_one_key_runs_no_more_turns_than_it_may_while_others_go_on() -> None:
    admission = Admission(Capacity(4, 4, 20, 100, 30, 1_000, turns_per_key=2))
    order: list[str] = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            ticket = await stack.enter_async_context(admission.reserve(speaks=False, owner="a"))
            await asyncio.wait_for(ticket.start(), 1)
        (waiting,) = await flood(stack, admission, order, "a", 1)
        (other,) = await flood(stack, admission, order, "b", 1)
        await settle()
        assert (waiting.done(), other.done(), order) == (False, True, ["b"])
        assert admission.load.keys == 1
    await asyncio.wait({waiting})
    assert admission.load.keys == 0
