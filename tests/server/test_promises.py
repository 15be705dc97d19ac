"""What the door promises of the engines: cache, prompts read in time, speech in real time, rates of a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted, SpeechDelta, TextDelta
from antiphon_server.admission.capacity import Capacity, Price
from antiphon_server.admission.controller import Admission
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.config.settings import Settings
from antiphon_server.errors import Overloaded, RateExceeded, Unavailable
from antiphon_server.process.serve import admission_capacity
from tests.server.exchange import becomes_true

ROOMY = Capacity(64, 64, 64, 1000, 30, 1 << 20, answer_tokens=10, speech_s=0.8)
# A token a block, so that the figures of a test are those of the ledger.
CACHE = CacheCapacity(blocks=100, block_tokens=1)
TIGHT = replace(ROOMY, engines=EngineCapacity(thinker=CACHE))


class World:
    """A door with a clock and a Talker that a test moves."""

    def __init__(self, capacity: Capacity) -> None:
        self.now_s = 0.0
        self.frame_time = FrameTime()
        self.door = Admission(capacity, lambda: self.frame_time, lambda: self.now_s)
        self.started: list[str] = []

    async def turn(self, stack: AsyncExitStack, prompt_tokens: int = 0, **kind: object) -> Reservation:
        """One that has its slot."""
        ticket = await stack.enter_async_context(self.door.reserve(**{"speaks": False, **kind}))  # type: ignore[arg-type]
        await asyncio.wait_for(ticket.start(RequestSize(prompt_tokens)), 1)
        return ticket

    @asynccontextmanager
    async def waiting(
        self, name: str, prompt_tokens: int = 0, **kind: object
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A turn of its own that writes its name when it starts, and stays."""

        async def stay() -> None:
            async with AsyncExitStack() as stack:
                ticket = await stack.enter_async_context(self.door.reserve(**{"speaks": False, **kind}))  # type: ignore[arg-type]
                await ticket.start(RequestSize(prompt_tokens))
                self.started.append(name)
                await asyncio.Event().wait()

        task = asyncio.create_task(stay())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_a_turn_starts_when_its_prompt_and_answer_find_room_in_the_cache() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await world.turn(first, prompt_tokens=60)
            await stack.enter_async_context(world.waiting("second", prompt_tokens=25))
            await stack.enter_async_context(world.waiting("third", prompt_tokens=21))
            assert world.started == []
            assert world.door.load.running.thinker_blocks == 70
        await settle()
        assert world.started == ["second", "third"]
        assert world.door.load.running.thinker_blocks == 35 + 31


async def test_small_requests_pass_a_large_one_for_a_while_and_do_not_keep_it_waiting_for_ever() -> None:
    """A request waits 30 s at most. For half of that those that fit start before it; then room is kept."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as small:
            await world.turn(small, prompt_tokens=20)
            await stack.enter_async_context(world.waiting("large", prompt_tokens=90))
            await small.enter_async_context(world.waiting("early", prompt_tokens=5))
            assert world.started == ["early"]
            world.now_s = 15.0
            for number in range(3):
                await stack.enter_async_context(world.waiting(f"late {number}", prompt_tokens=5))
            assert world.started == ["early"]
        await settle()
        assert world.started == ["early", "large"]


async def test_a_counted_prompt_that_is_smaller_than_its_estimate_lets_a_waiting_request_start() -> None:
    """98 of 100 blocks were expected to be taken, 18 are."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        ticket = await world.turn(stack, prompt_tokens=88)
        await stack.enter_async_context(world.waiting("text", prompt_tokens=8))
        assert world.started == []
        ticket.see(PromptCounted(text=8, audio=0, image=0, video=0, cached=0))
        await settle()
        assert world.started == ["text"]


async def test_when_a_request_for_which_room_was_kept_is_displaced_the_others_start() -> None:
    world = World(replace(TIGHT, queued_turns=1, sequences=3))
    async with AsyncExitStack() as stack:
        await world.turn(stack, prompt_tokens=20, owner="calm")
        await stack.enter_async_context(world.door.reserve(speaks=False, owner="flood"))
        await stack.enter_async_context(world.waiting("large", prompt_tokens=90, owner="flood"))
        world.now_s = 15.0
        await stack.enter_async_context(world.waiting("small", prompt_tokens=5, owner="calm"))
        assert world.started == []
        await stack.enter_async_context(world.door.reserve(speaks=False, owner="newcomer"))
        await settle()
        assert world.door.load.refused == {"displaced": 1}
        assert world.started == ["small"]


async def test_a_turn_that_is_larger_than_the_cache_runs_alone() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        ticket = await world.turn(stack, prompt_tokens=5_000)
        assert ticket.held == Price(sequences=1, thinker_blocks=100)


async def test_the_cache_is_free_when_the_text_is_written_though_speech_goes_on() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        speaking = await world.turn(stack, prompt_tokens=80, speaks=True)
        await stack.enter_async_context(world.waiting("text", prompt_tokens=80))
        assert world.started == []
        speaking.text_ended()
        await settle()
        assert world.started == ["text"]
        speaking.see(SpeechDelta(b"", 1, 0))
        assert speaking.held == Price(streams=1, live=1)


async def test_an_answer_that_grows_beyond_what_was_expected_is_counted() -> None:
    """40 + 10 were expected. 50 are written: 90 are taken, and 20 more have no room."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        ticket = await world.turn(stack, prompt_tokens=30)
        ticket.see(PromptCounted(text=40, audio=0, image=0, video=0, cached=0))
        assert world.door.load.running.thinker_blocks == 50
        for _ in range(50):
            ticket.see(TextDelta(0, "word", 1))
        assert world.door.load.running.thinker_blocks == 90
        await stack.enter_async_context(world.waiting("next", prompt_tokens=10))
        assert world.started == []
    assert world.door.load.running == Price()


async def test_speech_that_waits_for_the_talkers_cache_lets_text_by_but_no_other_speech() -> None:
    """10 frames are expected of an answer."""
    world = World(replace(ROOMY, engines=EngineCapacity(talker=CACHE)))
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await world.turn(first, prompt_tokens=50, speaks=True)
            await stack.enter_async_context(world.waiting("large", prompt_tokens=80, speaks=True))
            world.now_s = 15.0
            await stack.enter_async_context(world.waiting("small", speaks=True))
            await stack.enter_async_context(world.waiting("text", prompt_tokens=80))
            assert world.started == ["text"]
        await settle()
        assert world.started == ["text", "large", "small"]


async def test_a_further_listener_waits_until_the_talker_keeps_up_with_it_too() -> None:
    world = World(ROOMY)
    world.frame_time = FrameTime((0.030, 0.060), live_stream_limit=2)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            for _ in range(2):
                await world.turn(first, speaks=True)
            await stack.enter_async_context(world.waiting("listener", speaks=True))
            assert world.started == []
            assert (world.door.load.live_limit, world.door.load.frame_s) == (2, 0.060)
            # Nobody listens to these, or they do not speak: they take what is left.
            await stack.enter_async_context(world.waiting("file", speaks=True, live=False))
            await stack.enter_async_context(world.waiting("text"))
            assert world.started == ["file", "text"]
        await settle()
        assert world.started == ["file", "text", "listener"]


async def test_a_talker_that_has_become_faster_is_noticed_though_nobody_leaves() -> None:
    world = World(ROOMY)
    world.frame_time = FrameTime((0.079,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        await world.turn(stack, speaks=True)
        await stack.enter_async_context(world.waiting("listener", speaks=True))
        world.frame_time = FrameTime((0.020,), live_stream_limit=8)
        assert await becomes_true(lambda: world.started == ["listener"])


async def test_one_listener_is_never_refused_for_a_talker_that_is_too_slow_and_unmeasured_it_is_trusted() -> (
    None
):
    world = World(ROOMY)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await world.turn(stack, speaks=True)
    world.frame_time = FrameTime((0.200,), live_stream_limit=0)
    async with AsyncExitStack() as stack:
        await world.turn(stack, speaks=True)


async def test_who_could_not_be_spoken_to_before_the_deadline_is_told_at_once() -> None:
    """Turns take 20 s, one at a time, and nobody waits longer than 30 s: one can wait, two cannot."""
    world = World(ROOMY)
    world.frame_time = FrameTime((0.060,), live_stream_limit=1)
    for _ in range(50):
        async with AsyncExitStack() as stack:
            await world.turn(stack, speaks=True)
            world.now_s += 20.0
    async with AsyncExitStack() as stack:
        await world.turn(stack, speaks=True)
        async with AsyncExitStack() as queue:
            await queue.enter_async_context(world.waiting("first", speaks=True))
            with pytest.raises(Overloaded) as caught:
                await world.turn(stack, speaks=True)
            assert (caught.value.code, caught.value.status) == ("not_in_real_time", 429)
            assert caught.value.retry_after_s == pytest.approx(40, rel=0.01)
            assert world.door.load.refused == {"not_in_real_time": 1}
            await queue.enter_async_context(world.door.reserve(speaks=True, live=False))
        await queue.enter_async_context(world.door.reserve(speaks=True))


async def test_the_place_of_a_listener_goes_to_a_key_that_has_fewer() -> None:
    world = World(replace(ROOMY, queue_s=1.0))
    world.frame_time = FrameTime((0.060,), live_stream_limit=1)
    for _ in range(50):
        async with AsyncExitStack() as stack:
            await world.turn(stack, speaks=True)
            world.now_s += 0.3
    async with AsyncExitStack() as stack:
        await world.turn(stack, speaks=True, owner="flood")
        tasks = [
            await stack.enter_async_context(world.waiting(f"{number}", speaks=True, owner="flood"))
            for number in range(3)
        ]
        with pytest.raises(Overloaded):
            await world.turn(stack, speaks=True, owner="flood")
        calm = await stack.enter_async_context(world.waiting("calm", speaks=True, owner="calm"))
        assert [task.done() for task in tasks] == [False, False, True]
        assert not calm.done()


async def test_without_the_rule_slots_alone_count() -> None:
    world = World(replace(ROOMY, real_time=False))
    world.frame_time = FrameTime((0.200,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await world.turn(stack, speaks=True)
        assert world.door.load.live_limit is None


async def test_prompts_that_could_not_be_read_in_time_are_refused_by_the_measured_rate() -> None:
    """1,000 tokens took a second, so 10 s are 10,000 tokens; a second of them has to be read before."""
    world = World(replace(ROOMY, prefill_s=10.0))
    async with AsyncExitStack() as stack:
        first = await world.turn(stack, prompt_tokens=1_000)
        world.now_s = 1.0
        first.see(PromptCounted(text=1_000, audio=0, image=0, video=0, cached=0))
        assert world.door.load.prefill_rate == pytest.approx(1_000)
        second = await world.turn(stack, prompt_tokens=9_000)
        with pytest.raises(Overloaded) as caught:
            await world.turn(stack, prompt_tokens=2_000)
        assert caught.value.code == "prefill_queue_full"
        assert caught.value.retry_after_s == pytest.approx(1.0)
        await world.turn(stack, prompt_tokens=1_000)
        second.see(PromptCounted(text=9_000, audio=0, image=0, video=0, cached=9_000))
        assert world.door.load.prompt_tokens == 1_000
        await world.turn(stack, prompt_tokens=2_000)
    assert world.door.load.prompt_tokens == 0


async def test_before_anything_is_measured_the_number_of_prompt_tokens_is_bounded() -> None:
    world = World(replace(ROOMY, queued_prompt_tokens=1_000))
    async with AsyncExitStack() as stack:
        await world.turn(stack, prompt_tokens=800)
        with pytest.raises(Overloaded, match="800 prompt tokens"):
            await world.turn(stack, prompt_tokens=300)


async def test_a_key_that_has_used_its_tokens_hears_when_there_are_enough_again() -> None:
    world = World(replace(ROOMY, tokens_per_minute=600))
    async with AsyncExitStack() as stack:
        ticket = await world.turn(stack, prompt_tokens=500, owner="a")
        ticket.see(PromptCounted(text=520, audio=0, image=0, video=0, cached=0))
        for _ in range(60):
            ticket.see(TextDelta(0, "word", 1))
        with pytest.raises(RateExceeded) as caught:
            await world.turn(stack, prompt_tokens=70, owner="a")
        assert (caught.value.code, caught.value.status) == ("rate_limit_exceeded", 429)
        assert caught.value.retry_after_s == pytest.approx(5.0)
        assert caught.value.headers["x-ratelimit-remaining-tokens"] == "20"
        await world.turn(stack, prompt_tokens=70, owner="b")
        world.now_s += 5.0
        await world.turn(stack, prompt_tokens=70, owner="a")
        assert world.door.load.refused == {"token_rate": 1}


async def test_sound_heard_and_spoken_is_debited_and_text_goes_on_without() -> None:
    world = World(replace(ROOMY, audio_seconds_per_minute=60.0))
    async with AsyncExitStack() as stack:
        ticket = await stack.enter_async_context(world.door.reserve(speaks=True))
        await ticket.start(RequestSize(heard_seconds=20.0))
        ticket.see(SpeechDelta(b"", 500, 0))
        with pytest.raises(RateExceeded):
            await world.turn(stack, speaks=True)
        await world.turn(stack)
    assert world.door.rates.audio.left("") == pytest.approx(0.0)


async def test_a_turn_that_never_started_has_used_nothing() -> None:
    world = World(replace(ROOMY, sequences=1, tokens_per_minute=600, queue_s=0.02))
    async with AsyncExitStack() as stack:
        await world.turn(stack)
        with pytest.raises(Unavailable, match="no slot came free"):
            async with AsyncExitStack() as late:
                await world.turn(late, prompt_tokens=400)
        assert world.door.rates.tokens.left("") == 600
        assert world.door.load.prompt_tokens == 0


def test_the_door_promises_what_the_operator_and_the_engines_say() -> None:
    settings = Settings(
        engine={"model": "m", "thinker": {"max_num_seqs": 5}, "talker": {"streams": 3}},
        server={"limits": {"tokens_per_minute": 7, "real_time": False, "answer_tokens": 9}},
    )
    capacity = admission_capacity(settings, TIGHT.engines)
    assert (capacity.sequences, capacity.streams, capacity.engines.thinker) == (5, 3, CACHE)
    assert (capacity.tokens_per_minute, capacity.real_time, capacity.answer_tokens) == (7, False, 9)
    assert (capacity.prefill_s, capacity.audio_seconds_per_minute) == (30.0, 0.0)
    silent = settings.model_copy(update={"engine": settings.engine.model_copy(update={"speech": False})})
    assert admission_capacity(silent, TIGHT.engines).streams == 0
