"""Whatever is done to the admission controller: no request that could start is left waiting."""

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
from antiphon_executor.interface.events import PromptCounted, SpeechDelta, TextDelta
from antiphon_server.admission.capacity import Capacity, Price
from antiphon_server.admission.controller import Admission
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import ApiError

CACHE = CacheCapacity(blocks=40, block_tokens=4, request_blocks=1)
QUEUE_S = 30.0
CAPACITY = Capacity(
    sequences=4,
    streams=3,
    queued_turns=8,
    queued_media_seconds=100.0,
    queue_s=QUEUE_S,
    media_bytes=1_000,
    turns_per_key=3,
    queued_prompt_tokens=1_000,
    answer_tokens=16,
    speech_s=1.0,
    tokens_per_minute=10_000,
    audio_seconds_per_minute=1_200.0,
    engines=EngineCapacity(CACHE, CACHE, frame_tokens=2),
)
OWNERS = st.sampled_from("abc")
NUMBERS = st.integers(0, 1_000)


@dataclass(eq=False)
class Request:
    """One that is inside. `starting` waits for its slot, once it has asked for one."""

    ticket: Reservation
    starting: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        return self.ticket.started_at is not None

    @property
    def waits(self) -> bool:
        return self.starting is not None and not self.starting.done() and not self.runs


class AdmissionMachine(RuleBasedStateMachine):
    """Every operation that tickets have, a clock, and a Talker whose limit changes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now_s = 0.0
        self.limit: int | None = None
        self.inside: list[Request] = []
        self.door = Admission(CAPACITY, lambda: FrameTime((0.05,), self.limit), lambda: self.now_s)

    def teardown(self) -> None:
        while self.inside:
            self._leave(self.inside[0], None)
        load = self.door.load
        self.runner.close()
        assert (load.running, load.prompt_tokens, load.media_bytes) == (Price(), 0, 0)
        assert (load.waiting_text, load.waiting_speech, load.queued_media_seconds) == (0, 0, 0)

    @rule(
        speaks=st.booleans(),
        live=st.booleans(),
        optional=st.booleans(),
        choices=st.integers(1, 3),
        owner=OWNERS,
    )
    def enter(self, speaks: bool, live: bool, optional: bool, choices: int, owner: str) -> None:
        """A full queue may displace another request."""
        ticket = self.door.reserve(
            speaks=speaks,
            live=live,
            choices=1 if speaks else choices,
            owner=owner,
            speech_optional=optional,
        )

        async def come() -> None:
            try:
                self.door.enter(ticket)
            except ApiError:
                return
            self.inside.append(Request(ticket))

        self._do(come())

    @rule(owner=OWNERS, speaks=st.booleans(), live=st.booleans(), tokens=st.sampled_from([0, 10, 40, 100]))
    def come(self, owner: str, speaks: bool, live: bool, tokens: int) -> None:
        """Enters and starts at once: streams run out, or the cache does."""
        before = len(self.inside)
        self.enter(speaks=speaks, live=live, optional=False, choices=1, owner=owner)
        if len(self.inside) > before:
            self._do(self._begin(self.inside[-1], RequestSize(tokens)))

    @rule(number=NUMBERS, size=st.integers(0, 500))
    def hold(self, number: int, size: int) -> None:
        for one in self._one(number, [one for one in self.inside if one.starting is None]):
            try:
                one.ticket.hold(size)
            except ApiError:
                self._leave(one, ApiError)

    @rule(number=NUMBERS, tokens=st.integers(0, 200), seconds=st.integers(0, 30))
    def start(self, number: int, tokens: int, seconds: int) -> None:
        size = RequestSize(tokens, media_seconds=seconds, heard_seconds=seconds)
        for one in self._one(number, [one for one in self.inside if one.starting is None]):
            self._do(self._begin(one, size))

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS, tokens=st.sampled_from([0, 10, 100, 300]))
    def prompt_read(self, number: int, tokens: int) -> None:
        self._tell(number, lambda one: one.see(PromptCounted(tokens, 0, 0, 0, cached=0)))

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS, amount=st.integers(1, 60), speech=st.booleans())
    def grown(self, number: int, amount: int, speech: bool) -> None:
        spoken, written = SpeechDelta(b"", amount, 0), TextDelta(0, "", amount)
        self._tell(number, lambda one: one.see(spoken if speech and one.speaks else written))

    @precondition(lambda self: any(one.runs for one in self.inside))
    @rule(number=NUMBERS)
    def text_ended(self, number: int) -> None:
        self._tell(number, Reservation.text_ended)

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
    def the_talker_changes(self, limit: int | None) -> None:
        """As the timer does, which a listener that waits has set."""
        self.limit = limit

        self._do_now(self.door.look_again)

    @invariant()
    def no_request_that_could_start_is_left_waiting(self) -> None:
        """Unless room is kept for one that has waited for half of the deadline."""
        waiting = [one for one in self.inside if one.waits]
        overdue = [one for one in waiting if self.now_s - one.ticket.waiting_since >= QUEUE_S / 2]
        for one in waiting:
            assert not self._fits(one.ticket) or [other for other in overdue if other is not one]

    @invariant()
    def what_is_held_is_the_sum_of_what_runs(self) -> None:
        assert self.door.load.running == sum((one.ticket.held for one in self.inside), Price())

    def _fits(self, ticket: Reservation) -> bool:
        """By the figures alone, whatever the order is."""
        own = sum(one.runs and one.ticket.owner == ticket.owner for one in self.inside)
        if own >= CAPACITY.turns_per_key:
            return False
        if not ticket.speaks or ticket.speech_optional:
            return self._has_room(ticket.price_in_text)
        held = self.door.load.running
        keeps_pace = not ticket.live or self.limit is None or held.live < max(self.limit, 1)
        return keeps_pace and self._has_room(ticket.price)

    def _has_room(self, price: Price) -> bool:
        held, whole = self.door.load.running, self.door.load.whole
        kinds = ("sequences", "thinker_blocks", "streams", "talker_blocks")
        return all(
            not getattr(price, kind) or getattr(held, kind) + getattr(price, kind) <= getattr(whole, kind)
            for kind in kinds
        )

    def _leave(self, one: Request, error: type[BaseException] | None) -> None:
        async def go() -> None:
            if one.starting is not None:
                one.starting.cancel()
                await asyncio.wait((one.starting,))
            await one.ticket.__aexit__(error, None, None)

        self.inside.remove(one)
        self._do(go())

    async def _begin(self, one: Request, size: RequestSize) -> None:
        one.starting = asyncio.create_task(one.ticket.start(size))

    def _tell(self, number: int, change: Callable[[Reservation], None]) -> None:
        """Something becomes of one that runs."""
        for one in self._one(number, [one for one in self.inside if one.runs]):
            self._do_now(partial(change, one.ticket))

    def _do_now(self, step: Callable[[], None]) -> None:
        async def run() -> None:
            step()

        self._do(run())

    def _one(self, number: int, among: list[Request]) -> list[Request]:
        return [among[number % len(among)]] if among else []

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        """The step, and what it sets going: requests that are refused leave."""

        async def run() -> None:
            await step
            for _ in range(6):
                await asyncio.sleep(0)

        self.runner.run(run())
        for one in [one for one in self.inside if one.starting is not None and one.starting.done()]:
            if one.starting is not None and one.starting.exception() is not None:
                self._leave(one, ApiError)


AdmissionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAdmissionMachine = AdmissionMachine.TestCase
