"""Properties of admission under random arrivals, growth, ends and cancellations.

No resource is exceeded, every waiting request starts, and all resources are released.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize, SpeechDemand
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resources import Resources
from tests.examples import examples
from tests.server.admission.admitting import settle

CACHE = CacheCapacity(blocks=40, block_tokens=4, request_blocks=1)
CAPACITY = Capacity(
    sequences=4,
    streams=3,
    queued_requests=50,
    queued_media_seconds=1e6,
    queue_s=3_600,
    media_bytes=1 << 20,
    requests_per_key=3,
    answer_tokens=16,
    speech_s=1.0,
    tokens_per_minute=1_000_000,
    audio_seconds_per_minute=100_000.0,
    engines=EngineCapacity(CACHE, CACHE, frame_tokens=2),
)


@dataclass(frozen=True)
class Arrival:
    speech: SpeechDemand | None
    prompt_tokens: int
    choices: int
    owner: str


@dataclass(eq=False)
class Request:
    """An admitted request; it ends when `leaves` is set."""

    reservation: Reservation
    task: asyncio.Task[None]
    leaves: asyncio.Event


@dataclass
class Server:
    """A controller whose clock stands still, and its requests."""

    limit: int | None = None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission = AdmissionController(CAPACITY, lambda: FrameTime((0.05,), self.limit), lambda: 0.0)

    async def arrive(self, one: Arrival) -> None:
        reservation = Reservation(one.owner, one.speech)
        leaves = asyncio.Event()

        async def stay() -> None:
            size = RequestSize(one.prompt_tokens, one.choices, media_seconds=1.0)
            with self.admission.admit(reservation):
                await self.admission.wait_for_slot(reservation, size)
                await leaves.wait()

        self.requests.append(Request(reservation, asyncio.create_task(stay()), leaves))

    async def count(self, request: Request, tokens: int) -> None:
        counted = PromptCounted(text=tokens, audio=0, image=0, video=0, cached=0)
        self.admission.count_prompt(request.reservation, counted)

    async def write(self, request: Request, tokens: int) -> None:
        self.admission.count_text(request.reservation, tokens)

    async def speak(self, request: Request, frames: int) -> None:
        if request.reservation.speech:
            self.admission.count_speech(request.reservation, frames)

    async def end_text(self, request: Request, _: int) -> None:
        self.admission.release_text(request.reservation)

    async def leave(self, request: Request, _: int) -> None:
        request.leaves.set()

    async def cancel(self, request: Request, _: int) -> None:
        request.task.cancel()

    @property
    def present(self) -> list[Request]:
        return [request for request in self.requests if not request.task.done()]

    @property
    def running(self) -> list[Request]:
        return [request for request in self.present if request.reservation.started_at is not None]


SPEECH = st.none() | st.builds(SpeechDemand, st.booleans())
ARRIVALS = st.builds(Arrival, SPEECH, st.integers(0, 300), st.just(1), st.sampled_from("abc")) | st.builds(
    Arrival, st.none(), st.integers(0, 60), st.integers(1, 4), st.sampled_from("abc")
)
CHANGES = st.tuples(
    st.sampled_from([Server.count, Server.write, Server.speak, Server.end_text, Server.leave, Server.cancel]),
    st.integers(0, 1_000),
    st.integers(0, 60),
)
STORIES = st.lists(
    st.one_of(ARRIVALS, ARRIVALS, CHANGES, st.none() | st.integers(0, 4)), min_size=8, max_size=60
)
Change = Callable[[Server, Request, int], Awaitable[None]]
Step = Arrival | tuple[Change, int, int] | int | None


@settings(max_examples=examples(150), deadline=None)
@given(STORIES, st.none() | st.integers(0, 2))
def test_no_resource_is_exceeded_and_all_are_released(story: list[Step], limit: int | None) -> None:
    asyncio.run(_play(story, limit))


async def _play(story: list[Step], limit: int | None) -> None:
    server = Server(limit)
    for step in story:
        before = server.admission.load.running
        match step:
            case Arrival():
                await server.arrive(step)
            case (change, number, amount):
                # A request changes only while it runs; it can be cancelled at any time.
                requests = server.present if change is Server.cancel else server.running
                if requests:
                    await change(server, requests[number % len(requests)], amount)
            case _:
                server.limit = step
        grown = server.admission.load.running
        await settle()
        _check(server, before, grown)
    await _all_start_and_leave(server)


def _check(server: Server, before: Resources, grown: Resources) -> None:
    """`before`: what was held before the step; `grown`: after it, before others could start."""
    held, total = server.admission.load.running, server.admission.load.total
    assert held == sum((request.reservation.held for request in server.present), Resources())
    assert held.sequences <= total.sequences
    assert held.streams <= total.streams
    assert held.thinker_blocks <= max(total.thinker_blocks, before.thinker_blocks, grown.thinker_blocks)
    assert held.talker_blocks <= max(total.talker_blocks, before.talker_blocks, grown.talker_blocks)
    if server.limit is not None:
        assert held.live <= max(server.limit, 1, before.live)
    for owner in "abc":
        assert (
            sum(request.reservation.owner == owner for request in server.running) <= CAPACITY.requests_per_key
        )


async def _all_start_and_leave(server: Server) -> None:
    while server.present:
        running = server.running
        assert running, "requests wait, and none runs"
        for request in running:
            request.leaves.set()
        await settle()
    load = server.admission.load
    assert load.running == Resources()
    assert (load.prompt_tokens, load.queued_media_seconds, load.media_bytes, load.keys) == (0, 0, 0, 0)
    assert (load.waiting_text, load.waiting_speech) == (0, 0)
    for owner in "abc":
        _check_debits(server, owner)


def _check_debits(server: Server, owner: str) -> None:
    """The clock stands still, so no bucket refills: requests that started have used all that is missing."""
    own = [request.reservation for request in server.requests if request.reservation.owner == owner]
    tokens = sum(
        one.size.prompt_tokens + one.tokens + one.frames for one in own if one.started_at is not None
    )
    spoken_s = sum(one.frames for one in own) / 12.5
    assert round(CAPACITY.tokens_per_minute - server.admission.rates.tokens.remaining(owner)) == tokens
    assert (
        abs(CAPACITY.audio_seconds_per_minute - server.admission.rates.audio.remaining(owner) - spoken_s)
        < 1e-3
    )
