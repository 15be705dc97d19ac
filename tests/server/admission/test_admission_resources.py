"""Admission by resources: KV caches, prefill time, the Talker's real time, rate limits of a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted, PromptProgress
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize, SpeechDemand
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resources import Resources
from antiphon_server.config.settings import Settings
from antiphon_server.errors import Overloaded, RateExceeded, Unavailable
from antiphon_server.process.assembly import admission_capacity
from tests.echo_engine import echo_card
from tests.server.admission.admitting import BATCH, LIVE, settle
from tests.server.exchange import becomes_true

ROOMY = Capacity(64, 64, 64, 1000, 30, 1 << 20, answer_tokens=10, speech_s=0.8)
# One token per block, so that blocks are tokens.
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
        await asyncio.wait_for(self.admission.wait_for_slot(reservation, size), 60)
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


async def test_a_request_starts_when_its_prompt_and_answer_fit_in_the_cache() -> None:
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


async def test_a_request_that_started_with_an_estimate_is_corrected_and_makes_room() -> None:
    world = World(replace(TIGHT, tokens_per_minute=1_000))
    async with AsyncExitStack() as stack:
        first = await world.start(stack, prompt_tokens=80)
        await stack.enter_async_context(world.waiting("second", prompt_tokens=25))
        assert world.started == []
        world.admission.correct_size(first, RequestSize(55))
        await settle()
        assert world.started == ["second"]
        assert world.admission.load.running.thinker_blocks == 65 + 35
        assert world.admission.load.prompt_tokens == 55 + 25
        world.admission.count_prompt(first, counted(55))
    load = world.admission.load
    assert (load.running, load.prompt_tokens) == (Resources(), 0)


async def test_small_requests_overtake_a_large_one_for_half_of_the_deadline_only() -> None:
    """The deadline is 30 s. For 15 s smaller requests that fit start first; then room is kept."""
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


async def test_a_prompt_smaller_than_its_estimate_starts_a_waiting_request() -> None:
    """The estimate is 98 of 100 blocks; the counted prompt needs 18."""
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        reservation = await world.start(stack, prompt_tokens=88)
        await stack.enter_async_context(world.waiting("text", prompt_tokens=8))
        assert world.started == []
        world.admission.count_prompt(reservation, counted(8))
        await settle()
        assert world.started == ["text"]


async def test_others_start_when_the_request_that_room_was_kept_for_is_evicted() -> None:
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


async def test_a_request_larger_than_the_cache_runs_alone() -> None:
    world = World(TIGHT)
    async with AsyncExitStack() as stack:
        reservation = await world.start(stack, prompt_tokens=5_000)
        assert reservation.held == Resources(sequences=1, thinker_blocks=100)


async def test_a_complete_text_frees_its_cache_blocks_while_its_speech_continues() -> None:
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


async def test_an_answer_longer_than_estimated_is_counted_as_it_grows() -> None:
    """The estimate is 40 + 10 blocks. After 50 tokens it is 90, and 20 more do not fit."""
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


async def test_speech_waiting_for_the_talkers_cache_is_overtaken_by_text_only() -> None:
    """An answer is estimated at 10 frames."""
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


async def test_a_live_stream_beyond_the_real_time_limit_waits() -> None:
    world = World(ROOMY)
    world.frame_time = FrameTime((0.030, 0.060), live_stream_limit=2)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            for _ in range(2):
                await world.start(first, speech=LIVE)
            await stack.enter_async_context(world.waiting("listener", speech=LIVE))
            assert world.started == []
            assert (world.admission.load.live_limit, world.admission.load.frame_s) == (2, 0.060)
            # Speech that is not live and text do not depend on real time.
            await stack.enter_async_context(world.waiting("file", speech=BATCH))
            await stack.enter_async_context(world.waiting("text"))
            assert world.started == ["file", "text"]
        await settle()
        assert world.started == ["file", "text", "listener"]


async def test_a_faster_talker_starts_a_waiting_stream_without_another_event() -> None:
    world = World(ROOMY)
    world.frame_time = FrameTime((0.079,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE)
        await stack.enter_async_context(world.waiting("listener", speech=LIVE))
        world.frame_time = FrameTime((0.020,), live_stream_limit=8)
        assert await becomes_true(lambda: world.started == ["listener"])


async def test_one_live_stream_always_runs_and_an_unmeasured_talker_sets_no_limit() -> None:
    world = World(ROOMY)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await world.start(stack, speech=LIVE)
    world.frame_time = FrameTime((0.200,), live_stream_limit=0)
    async with AsyncExitStack() as stack:
        await world.start(stack, speech=LIVE)


async def test_a_live_stream_that_would_miss_the_deadline_is_refused_immediately() -> None:
    """Requests take 20 s, one at a time, and the deadline is 30 s: one can wait, two cannot."""
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


async def test_a_waiting_live_stream_is_evicted_for_a_key_with_fewer() -> None:
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


async def test_without_the_real_time_rule_only_slots_limit_streams() -> None:
    world = World(replace(ROOMY, real_time=False))
    world.frame_time = FrameTime((0.200,), live_stream_limit=1)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await world.start(stack, speech=LIVE)
        assert world.admission.load.live_limit is None


async def test_prompts_beyond_the_prefill_time_limit_are_refused_by_the_measured_rate() -> None:
    """The rate is 1,000 tokens per second, so the limit of 10 s is 10,000 tokens."""
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


async def test_a_short_prompt_starts_while_a_long_one_is_read() -> None:
    """The rate is 1,000 tokens per second, and the long prompt takes four minutes."""
    world = World(replace(ROOMY, prefill_s=10.0))
    async with AsyncExitStack() as stack:
        first = await world.start(stack, prompt_tokens=1_000)
        world.now_s = 1.0
        world.admission.count_prompt(first, counted(1_000))
        long = await world.start(stack, prompt_tokens=250_000)
        await world.start(stack, prompt_tokens=500)
        with pytest.raises(Overloaded):
            await world.start(stack, prompt_tokens=20_000)
        world.admission.count_progress(long, PromptProgress(248_000, 250_000))
        assert world.admission.load.prompt_tokens == 2_500
        world.admission.count_progress(long, PromptProgress(100, 250_000))
        assert world.admission.load.prompt_tokens == 2_500
        world.admission.count_prompt(long, counted(250_000))
        world.admission.count_progress(long, PromptProgress(250_000, 250_000))
        assert world.admission.load.prompt_tokens == 500
    assert world.admission.load.prompt_tokens == 0


async def test_before_the_rate_is_measured_the_number_of_prompt_tokens_is_bounded() -> None:
    world = World(replace(ROOMY, queued_prompt_tokens=1_000))
    async with AsyncExitStack() as stack:
        await world.start(stack, prompt_tokens=800)
        with pytest.raises(Overloaded, match="800 prompt tokens"):
            await world.start(stack, prompt_tokens=300)


async def test_a_key_at_its_token_rate_is_refused_with_the_time_until_refill() -> None:
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


async def test_audio_heard_and_spoken_is_debited_and_text_is_not_limited_by_it() -> None:
    world = World(replace(ROOMY, audio_seconds_per_minute=60.0))
    async with AsyncExitStack() as stack:
        reservation = stack.enter_context(world.admission.admit(Reservation(speech=LIVE)))
        await world.admission.wait_for_slot(reservation, RequestSize(heard_seconds=20.0))
        world.admission.count_speech(reservation, 500)
        with pytest.raises(RateExceeded):
            await world.start(stack, speech=LIVE)
        await world.start(stack)
    assert world.admission.rates.audio.remaining("") == pytest.approx(0.0)


async def test_a_request_that_never_started_is_refunded() -> None:
    world = World(replace(ROOMY, sequences=1, tokens_per_minute=600, queue_s=0.02))
    async with AsyncExitStack() as stack:
        await world.start(stack)
        with pytest.raises(Unavailable, match="no slot became free"):
            async with AsyncExitStack() as late:
                await world.start(late, prompt_tokens=400)
        assert world.admission.rates.tokens.remaining("") == 600
        assert world.admission.load.prompt_tokens == 0


def test_the_capacity_comes_from_settings_and_engines() -> None:
    settings = Settings(
        engine={"model": "m", "thinker": {"max_num_seqs": 5}, "talker": {"streams": 3}},
        server={"limits": {"tokens_per_minute": 7, "real_time": False, "answer_tokens": 9}},
    )
    card = replace(echo_card(Path("m")), capacity=TIGHT.engines)
    capacity = admission_capacity(settings, card)
    assert (capacity.sequences, capacity.streams, capacity.engines.thinker) == (5, 3, CACHE)
    assert (capacity.tokens_per_minute, capacity.real_time, capacity.answer_tokens) == (7, False, 9)
    assert (capacity.prefill_s, capacity.audio_seconds_per_minute) == (30.0, 0.0)
    assert admission_capacity(settings, echo_card(Path("m"), speaks=False)).streams == 0
