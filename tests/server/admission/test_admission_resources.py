"""What the door promises of the engines: cache, prompts read in time, speech in real time, rates of a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize, SpeechDemand
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resources import Resources
from antiphon_server.config.settings import Settings
from antiphon_server.errors import Overloaded, RateExceeded, Unavailable
from antiphon_server.process.serve import admission_capacity
from tests.server.admission.admitting import BATCH, LIVE, settle
from tests.server.exchange import becomes_true

ROOMY = Capacity(64, 64, 64, 1000, 30, 1 << 20, answer_tokens=10, speech_s=0.8)
# A token a block, so that the figures of a test are those of the estimate.
CACHE = CacheCapacity(blocks=100, block_tokens=1)
TIGHT = replace(ROOMY, engines=EngineCapacity(thinker=CACHE))


class World:
    """A controller with a clock and a Talker that a test changes."""

    def __init__(self, capacity: Capacity) -> None:
        self.now_s = 0.0
        self.frame_time = FrameTime()
        self.admission = AdmissionController(capacity, lambda: self.frame_time, lambda: self.now_s)
        self.started: list[str] = []

    async def start(
        self,
        stack: AsyncExitStack,
        prompt_tokens: int = 0,
        speech: SpeechDemand | None = None,
        owner: str = "",
    ) -> Reservation:
        """A reservation that has its slot until the stack closes."""
        reservation = stack.enter_context(self.admission.admit(Reservation(owner, speech)))
        size = RequestSize(prompt_tokens)
        await asyncio.wait_for(self.admission.wait_for_slot(reservation, size), 1)
        return reservation

    @asynccontextmanager
    async def waiting(
        self, name: str, prompt_tokens: int = 0, speech: SpeechDemand | None = None, owner: str = ""
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A request in a task that appends its name to `started`, and runs until the block ends."""

        async def stay() -> None:
            with self.admission.admit(Reservation(owner, speech)) as reservation:
                await self.admission.wait_for_slot(reservation, RequestSize(prompt_tokens))
                self.started.append(name)
                await asyncio.Event().wait()

        task = asyncio.create_task(stay())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait((task,))


def counted(tokens: int, cached: int = 0) -> PromptCounted:
    return PromptCounted(text=tokens, audio=0, image=0, video=0, cached=cached)


async def test_a_turn_starts_when_its_prompt_and_answer_find_room_in_the_cache() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await world.start(first, prompt_tokens=60)
            await stack.enter_async_context(world.waiting("second", prompt_tokens=25))
            await stack.enter_async_context(world.waiting("third", prompt_tokens=21))
            assert world.started == []
            assert world.admission.load.running.thinker_blocks == 70
        await settle()
        assert world.started == ["second", "third"]
        assert world.admission.load.running.thinker_blocks == 35 + 31


async def test_small_requests_pass_a_large_one_for_a_while_and_do_not_keep_it_waiting_for_ever() -> None:
    """A request waits 30 s at most. For half of that those that fit start before it; then room is kept."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as small:
            await world.start(small, prompt_tokens=20)
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
        reservation = await world.start(stack, prompt_tokens=88)
        await stack.enter_async_context(world.waiting("text", prompt_tokens=8))
        assert world.started == []
        world.admission.count_prompt(reservation, counted(8))
        await settle()
        assert world.started == ["text"]


async def test_when_a_request_for_which_room_was_kept_is_displaced_the_others_start() -> None:
    world = World(replace(TIGHT, queued_requests=1, sequences=3))
    async with AsyncExitStack() as stack:
        await world.start(stack, prompt_tokens=20, owner="calm")
        stack.enter_context(world.admission.admit(Reservation("flood")))
        await stack.enter_async_context(world.waiting("large", prompt_tokens=90, owner="flood"))
        world.now_s = 15.0
        await stack.enter_async_context(world.waiting("small", prompt_tokens=5, owner="calm"))
        assert world.started == []
        stack.enter_context(world.admission.admit(Reservation("newcomer")))
        await settle()
        assert world.admission.load.refused == {"displaced": 1}
        assert world.started == ["small"]


async def test_a_turn_that_is_larger_than_the_cache_runs_alone() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        reservation = await world.start(stack, prompt_tokens=5_000)
        assert reservation.held == Resources(sequences=1, thinker_blocks=100)


async def test_the_cache_is_free_when_the_text_is_written_though_speech_goes_on() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        speaking = await world.start(stack, prompt_tokens=80, speech=LIVE)
        await stack.enter_async_context(world.waiting("text", prompt_tokens=80))
        assert world.started == []
        world.admission.release_text(speaking)
        await settle()
        assert world.started == ["text"]
        world.admission.count_speech(speaking, 1)
        assert speaking.held == Resources(streams=1, live=1)


async def test_an_answer_that_grows_beyond_what_was_expected_is_counted() -> None:
    """40 + 10 were expected. 50 are written: 90 are taken, and 20 more have no room."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        reservation = await world.start(stack, prompt_tokens=30)
        world.admission.count_prompt(reservation, counted(40))
        assert world.admission.load.running.thinker_blocks == 50
        for _ in range(50):
            world.admission.count_text(reservation, 1)
        assert world.admission.load.running.thinker_blocks == 90
        await stack.enter_async_context(world.waiting("next", prompt_tokens=10))
        assert world.started == []
    assert world.admission.load.running == Resources()


async def test_speech_that_waits_for_the_talkers_cache_lets_text_by_but_no_other_speech() -> None:
    """10 frames are expected of an answer."""
    world = World(replace(ROOMY, engines=EngineCapacity(talker=CACHE)))
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await world.start(first, prompt_tokens=50, speech=LIVE)
            await stack.enter_async_context(world.waiting("large", prompt_tokens=80, speech=LIVE))
            world.now_s = 15.0
            await stack.enter_async_context(world.waiting("small", speech=LIVE))
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
                await world.start(first, speech=LIVE)
            await stack.enter_async_context(world.waiting("listener", speech=LIVE))
            assert world.started == []
            assert (world.admission.load.live_limit, world.admission.load.frame_s) == (2, 0.060)
            # Nobody listens to these, or they do not speak: they take what is left.
            await stack.enter_async_context(world.waiting("file", speech=BATCH))
            await stack.enter_async_context(world.waiting("text"))
            assert world.started == ["file", "text"]
        await settle()
        assert world.started == ["file", "text", "listener"]


async def test_a_talker_that_has_become_faster_is_noticed_though_nobody_leaves() -> None:
    world = World(ROOMY)
    world.frame_time = FrameTime((0.079,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE)
        await stack.enter_async_context(world.waiting("listener", speech=LIVE))
        world.frame_time = FrameTime((0.020,), live_stream_limit=8)
        assert await becomes_true(lambda: world.started == ["listener"])


async def test_one_listener_is_never_refused_for_a_talker_that_is_too_slow_and_unmeasured_it_is_trusted() -> (
    None
):
    world = World(ROOMY)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await world.start(stack, speech=LIVE)
    world.frame_time = FrameTime((0.200,), live_stream_limit=0)
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE)


async def test_who_could_not_be_spoken_to_before_the_deadline_is_told_at_once() -> None:
    """Turns take 20 s, one at a time, and nobody waits longer than 30 s: one can wait, two cannot."""
    world = World(ROOMY)
    world.frame_time = FrameTime((0.060,), live_stream_limit=1)
    for _ in range(50):
        async with AsyncExitStack() as stack:
            await world.start(stack, speech=LIVE)
            world.now_s += 20.0
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE)
        async with AsyncExitStack() as queue:
            await queue.enter_async_context(world.waiting("first", speech=LIVE))
            with pytest.raises(Overloaded) as caught:
                await world.start(stack, speech=LIVE)
            assert (caught.value.code, caught.value.status) == ("not_in_real_time", 429)
            assert caught.value.retry_after_s == pytest.approx(40, rel=0.01)
            assert world.admission.load.refused == {"not_in_real_time": 1}
            queue.enter_context(world.admission.admit(Reservation(speech=BATCH)))
        queue.enter_context(world.admission.admit(Reservation(speech=LIVE)))


async def test_the_place_of_a_listener_goes_to_a_key_that_has_fewer() -> None:
    world = World(replace(ROOMY, queue_s=1.0))
    world.frame_time = FrameTime((0.060,), live_stream_limit=1)
    for _ in range(50):
        async with AsyncExitStack() as stack:
            await world.start(stack, speech=LIVE)
            world.now_s += 0.3
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE, owner="flood")
        tasks = [
            await stack.enter_async_context(world.waiting(f"{number}", speech=LIVE, owner="flood"))
            for number in range(3)
        ]
        with pytest.raises(Overloaded):
            await world.start(stack, speech=LIVE, owner="flood")
        calm = await stack.enter_async_context(world.waiting("calm", speech=LIVE, owner="calm"))
        assert [task.done() for task in tasks] == [False, False, True]
        assert not calm.done()


async def test_without_the_rule_slots_alone_count() -> None:
    world = World(replace(ROOMY, real_time=False))
    world.frame_time = FrameTime((0.200,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await world.start(stack, speech=LIVE)
        assert world.admission.load.live_limit is None


async def test_prompts_that_could_not_be_read_in_time_are_refused_by_the_measured_rate() -> None:
    """1,000 tokens took a second, so 10 s are 10,000 tokens; a second of them has to be read before."""
    world = World(replace(ROOMY, prefill_s=10.0))
    async with AsyncExitStack() as stack:
        first = await world.start(stack, prompt_tokens=1_000)
        world.now_s = 1.0
        world.admission.count_prompt(first, counted(1_000))
        assert world.admission.load.prefill_rate == pytest.approx(1_000)
        second = await world.start(stack, prompt_tokens=9_000)
        with pytest.raises(Overloaded) as caught:
            await world.start(stack, prompt_tokens=2_000)
        assert caught.value.code == "prefill_queue_full"
        assert caught.value.retry_after_s == pytest.approx(1.0)
        await world.start(stack, prompt_tokens=1_000)
        world.admission.count_prompt(second, counted(9_000, cached=9_000))
        assert world.admission.load.prompt_tokens == 1_000
        await world.start(stack, prompt_tokens=2_000)
    assert world.admission.load.prompt_tokens == 0


async def test_before_anything_is_measured_the_number_of_prompt_tokens_is_bounded() -> None:
    world = World(replace(ROOMY, queued_prompt_tokens=1_000))
    async with AsyncExitStack() as stack:
        await world.start(stack, prompt_tokens=800)
        with pytest.raises(Overloaded, match="800 prompt tokens"):
            await world.start(stack, prompt_tokens=300)


async def test_a_key_that_has_used_its_tokens_hears_when_there_are_enough_again() -> None:
    world = World(replace(ROOMY, tokens_per_minute=600))
    async with AsyncExitStack() as stack:
        reservation = await world.start(stack, prompt_tokens=500, owner="a")
        world.admission.count_prompt(reservation, counted(520))
        for _ in range(60):
            world.admission.count_text(reservation, 1)
        with pytest.raises(RateExceeded) as caught:
            await world.start(stack, prompt_tokens=70, owner="a")
        assert (caught.value.code, caught.value.status) == ("rate_limit_exceeded", 429)
        assert caught.value.retry_after_s == pytest.approx(5.0)
        assert caught.value.headers["x-ratelimit-remaining-tokens"] == "20"
        await world.start(stack, prompt_tokens=70, owner="b")
        world.now_s += 5.0
        await world.start(stack, prompt_tokens=70, owner="a")
        assert world.admission.load.refused == {"token_rate": 1}


async def test_sound_heard_and_spoken_is_debited_and_text_goes_on_without() -> None:
    world = World(replace(ROOMY, audio_seconds_per_minute=60.0))
    async with AsyncExitStack() as stack:
        reservation = stack.enter_context(world.admission.admit(Reservation(speech=LIVE)))
        await world.admission.wait_for_slot(reservation, RequestSize(heard_seconds=20.0))
        world.admission.count_speech(reservation, 500)
        with pytest.raises(RateExceeded):
            await world.start(stack, speech=LIVE)
        await world.start(stack)
    assert world.admission.rates.audio.remaining("") == pytest.approx(0.0)


async def test_a_turn_that_never_started_has_used_nothing() -> None:
    world = World(replace(ROOMY, sequences=1, tokens_per_minute=600, queue_s=0.02))
    async with AsyncExitStack() as stack:
        await world.start(stack)
        with pytest.raises(Unavailable, match="no slot became free"):
            async with AsyncExitStack() as late:
                await world.start(late, prompt_tokens=400)
        assert world.admission.rates.tokens.remaining("") == 600
        assert world.admission.load.prompt_tokens == 0


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
