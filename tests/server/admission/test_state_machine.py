"""A state machine of the admission controller: after any operation, no request waits that could start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize, SpeechDemand, estimate_cost
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resources import Resources
from antiphon_server.errors import ApiError
from tests.examples import examples

CACHE = CacheCapacity(blocks=40, block_tokens=4, request_blocks=1)
QUEUE_S = 30.0
CAPACITY = Capacity(
    sequences=4,
    streams=3,
    queued_requests=8,
    queued_media_seconds=100.0,
    queue_s=QUEUE_S,
    media_bytes=1_000,
    requests_per_key=3,
    queued_prompt_tokens=1_000,
    answer_tokens=16,
    speech_s=1.0,
    tokens_per_minute=10_000,
    audio_seconds_per_minute=1_200.0,
    engines=EngineCapacity(CACHE, CACHE, frame_tokens=2),
)
OWNERS = st.sampled_from("abc")
SPEECH = st.none() | st.builds(SpeechDemand, st.booleans(), st.booleans())
NUMBERS = st.integers(0, 1_000)


@dataclass(eq=False)
class Request:
    """An admitted request. `starting`: its wait for a slot, once it has asked for one."""

    reservation: Reservation
    choices: int
    starting: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        return self.reservation.started_at is not None

    @property
    def waits(self) -> bool:
        return self.starting is not None and not self.starting.done() and not self.runs


class AdmissionMachine(RuleBasedStateMachine):
    """Every operation on reservations, a clock, and a Talker whose limit of live streams changes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now_s = 0.0
        self.limit: int | None = None
        self.inside: list[Request] = []
        self.admission = AdmissionController(
            CAPACITY, lambda: FrameTime((0.05,), self.limit), lambda: self.now_s
        )

    def teardown(self) -> None:
        while self.inside:
            self._leave(self.inside[0], None)
        load = self.admission.load
        self.runner.close()
        assert (load.running, load.prompt_tokens, load.media_bytes) == (Resources(), 0, 0)
        assert (load.waiting_text, load.waiting_speech, load.queued_media_seconds) == (0, 0, 0)

    @rule(speech=SPEECH, choices=st.integers(1, 3), owner=OWNERS)
    def enter(self, speech: SpeechDemand | None, choices: int, owner: str) -> None:
        """A full queue may evict another request."""
        reservation = Reservation(owner, speech)

        async def come() -> None:
            try:
                self.admission.enter(reservation)
            except ApiError:
                return
            self.inside.append(Request(reservation, 1 if speech else choices))

        self._do(come())

    @rule(owner=OWNERS, speech=SPEECH, tokens=st.sampled_from([0, 10, 40, 100]))
    def enter_and_wait(self, owner: str, speech: SpeechDemand | None, tokens: int) -> None:
        """Enter and ask for a slot in one step, so that streams or the cache fill up."""
        before = len(self.inside)
        demand = SpeechDemand(speech.live) if speech else None
        self.enter(speech=demand, choices=1, owner=owner)
        if len(self.inside) > before:
            self._do(self._begin(self.inside[-1], RequestSize(tokens)))

    @rule(number=NUMBERS, size=st.integers(0, 500))
    def hold_media(self, number: int, size: int) -> None:
        for one in self._one(number, [one for one in self.inside if one.starting is None]):
            try:
                self.admission.hold_media(one.reservation, size)
            except ApiError:
                self._leave(one, ApiError)

    @rule(number=NUMBERS, tokens=st.integers(0, 200), seconds=st.integers(0, 30))
    def wait_for_slot(self, number: int, tokens: int, seconds: int) -> None:
        for one in self._one(number, [one for one in self.inside if one.starting is None]):
            size = RequestSize(tokens, one.choices, media_seconds=seconds, heard_seconds=seconds)
            self._do(self._begin(one, size))

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS, tokens=st.sampled_from([0, 10, 100, 300]))
    def count_prompt(self, number: int, tokens: int) -> None:
        counted = PromptCounted(tokens, 0, 0, 0, cached=0)
        self._change(number, lambda one: self.admission.count_prompt(one, counted))

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS, amount=st.integers(1, 60), spoken=st.booleans())
    def count_answer(self, number: int, amount: int, spoken: bool) -> None:
        def grow(one: Reservation) -> None:
            if spoken and one.speech:
                self.admission.count_speech(one, amount)
            else:
                self.admission.count_text(one, amount)

        self._change(number, grow)

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS)
    def release_text(self, number: int) -> None:
        self._change(number, self.admission.release_text)

    @precondition(lambda self: self.inside)
    @rule(number=NUMBERS, error=st.sampled_from([None, GeneratorExit, asyncio.CancelledError]))
    def leave(self, number: int, error: type[BaseException] | None) -> None:
        """At any moment: while media are read, while it waits, while it runs."""
        for one in self._one(number, self.inside):
            self._leave(one, error)

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(limit=st.sampled_from([None, 0, 1, 2, 4]))
    def change_live_limit(self, limit: int | None) -> None:
        """Then recheck, as the timer does that a waiting live stream has set."""
        self.limit = limit
        self._do_now(self.admission.recheck)

    @invariant()
    def each_lane_counts_what_waits(self) -> None:
        for lane in (self.admission._text, self.admission._speech):
            assert lane.num_waiting == len(lane.waiting)
            assert lane._live_waiting == sum(one.live for one in lane.waiting)

    @invariant()
    def no_request_that_could_start_is_left_waiting(self) -> None:
        """Unless room is kept for one that has waited for half of the deadline."""
        waiting = [one for one in self.inside if one.waits]
        overdue = [one for one in waiting if self.now_s - one.reservation.waiting_since >= QUEUE_S / 2]
        for one in waiting:
            assert not self._fits(one.reservation) or [other for other in overdue if other is not one]

    @invariant()
    def what_is_held_is_the_sum_of_what_runs(self) -> None:
        assert self.admission.load.running == sum((one.reservation.held for one in self.inside), Resources())

    @invariant()
    def what_is_held_is_the_estimate_of_what_was_counted(self) -> None:
        """An estimate is renewed only when the answer outgrows it, and is never out of date."""
        for one in (one.reservation for one in self.inside if one.runs):
            estimate = estimate_cost(one.size, one.speech, CAPACITY, one.tokens, one.frames).resources
            assert one.held == (estimate.speech_part if one.text_is_complete else estimate)

    def _fits(self, reservation: Reservation) -> bool:
        """Considers only the resources, not the order."""
        own = sum(one.runs and one.reservation.owner == reservation.owner for one in self.inside)
        if own >= CAPACITY.requests_per_key:
            return False
        if reservation.speech is None or reservation.speech_optional:
            return self._has_room(estimate_cost(reservation.size, None, CAPACITY).resources)
        held = self.admission.load.running
        keeps_pace = not reservation.live or self.limit is None or held.live < max(self.limit, 1)
        return keeps_pace and self._has_room(reservation.estimate.resources)

    def _has_room(self, wanted: Resources) -> bool:
        held, total = self.admission.load.running, self.admission.load.total
        kinds = ("sequences", "thinker_blocks", "streams", "talker_blocks")
        return all(
            not getattr(wanted, kind) or getattr(held, kind) + getattr(wanted, kind) <= getattr(total, kind)
            for kind in kinds
        )

    def _leave(self, one: Request, error: type[BaseException] | None) -> None:
        async def go() -> None:
            if one.starting is not None:
                one.starting.cancel()
                await asyncio.wait((one.starting,))
            one.reservation.answered = error is None
            self.admission.leave(one.reservation)

        self.inside.remove(one)
        self._do(go())

    async def _begin(self, one: Request, size: RequestSize) -> None:
        one.starting = asyncio.create_task(self.admission.wait_for_slot(one.reservation, size))

    def _change(self, number: int, change: Callable[[Reservation], None]) -> None:
        """Change one that runs."""
        for one in self._one(number, [one for one in self.inside if one.runs]):
            self._do_now(partial(change, one.reservation))

    def _do_now(self, step: Callable[[], None]) -> None:
        async def run() -> None:
            step()

        self._do(run())

    def _one(self, number: int, among: list[Request]) -> list[Request]:
        return [among[number % len(among)]] if among else []

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        """Run the step and the tasks that it wakes. Refused requests leave."""

        async def run() -> None:
            await step
            for _ in range(6):
                await asyncio.sleep(0)

        self.runner.run(run())
        for one in [one for one in self.inside if one.starting is not None and one.starting.done()]:
            if one.starting is not None and one.starting.exception() is not None:
                self._leave(one, ApiError)


AdmissionMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None
)
TestAdmissionMachine = AdmissionMachine.TestCase
