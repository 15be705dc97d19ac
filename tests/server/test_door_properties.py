"""Whatever comes, grows, leaves and is cancelled, in whatever order.

No more is promised than there is, whoever waits starts in the end, and all of it is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity, FrameTime
from antiphon_executor.interface.events import PromptCounted, SpeechDelta, TextDelta
from antiphon_server.admission.capacity import Capacity, Price
from antiphon_server.admission.controller import Admission
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation

CACHE = CacheCapacity(blocks=40, block_tokens=4, request_blocks=1)
CAPACITY = Capacity(
    sequences=4,
    streams=3,
    queued_turns=50,
    queued_media_seconds=1e6,
    queue_s=3_600,
    media_bytes=1 << 20,
    turns_per_key=3,
    answer_tokens=16,
    speech_s=1.0,
    tokens_per_minute=1_000_000,
    audio_seconds_per_minute=100_000.0,
    engines=EngineCapacity(CACHE, CACHE, frame_tokens=2),
)


@dataclass(frozen=True)
class Arrival:
    speaks: bool
    live: bool
    prompt_tokens: int
    choices: int
    owner: str


@dataclass(eq=False)
class Guest:
    """A turn inside; it ends when `leaves` is set."""

    ticket: Reservation
    task: asyncio.Task[None]
    leaves: asyncio.Event


@dataclass
class House:
    """A door whose clock stands still, and all who are inside."""

    limit: int | None = None
    guests: list[Guest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.door = Admission(CAPACITY, lambda: FrameTime((0.05,), self.limit), lambda: 0.0)

    async def arrive(self, one: Arrival) -> None:
        ticket = self.door.reserve(speaks=one.speaks, live=one.live, choices=one.choices, owner=one.owner)
        leaves = asyncio.Event()

        async def stay() -> None:
            async with ticket:
                await ticket.start(RequestSize(one.prompt_tokens, media_seconds=1.0))
                await leaves.wait()

        self.guests.append(Guest(ticket, asyncio.create_task(stay()), leaves))

    async def count(self, guest: Guest, tokens: int) -> None:
        guest.ticket.see(PromptCounted(text=tokens, audio=0, image=0, video=0, cached=0))

    async def write(self, guest: Guest, tokens: int) -> None:
        guest.ticket.see(TextDelta(0, "", tokens))

    async def speak(self, guest: Guest, frames: int) -> None:
        if guest.ticket.speaks:
            guest.ticket.see(SpeechDelta(b"", frames, 0))

    async def end_text(self, guest: Guest, _: int) -> None:
        guest.ticket.text_ended()

    async def leave(self, guest: Guest, _: int) -> None:
        guest.leaves.set()

    async def cancel(self, guest: Guest, _: int) -> None:
        guest.task.cancel()

    @property
    def present(self) -> list[Guest]:
        return [guest for guest in self.guests if not guest.task.done()]

    @property
    def running(self) -> list[Guest]:
        return [guest for guest in self.present if guest.ticket.started_at is not None]


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


ARRIVALS = st.builds(
    Arrival, st.booleans(), st.booleans(), st.integers(0, 300), st.just(1), st.sampled_from("abc")
) | st.builds(
    Arrival, st.just(False), st.just(False), st.integers(0, 60), st.integers(1, 4), st.sampled_from("abc")
)
CHANGES = st.tuples(
    st.sampled_from([House.count, House.write, House.speak, House.end_text, House.leave, House.cancel]),
    st.integers(0, 1_000),
    st.integers(0, 60),
)
STORIES = st.lists(
    st.one_of(ARRIVALS, ARRIVALS, CHANGES, st.none() | st.integers(0, 4)), min_size=8, max_size=60
)
Change = Callable[[House, Guest, int], Awaitable[None]]
Step = Arrival | tuple[Change, int, int] | int | None


@settings(max_examples=150, deadline=None)
@given(STORIES, st.none() | st.integers(0, 2))
def test_no_more_is_promised_than_there_is_and_all_of_it_comes_back(
    story: list[Step], limit: int | None
) -> None:
    asyncio.run(_live(story, limit))


async def _live(story: list[Step], limit: int | None) -> None:
    house = House(limit)
    for step in story:
        before = house.door.load.running
        match step:
            case Arrival():
                await house.arrive(step)
            case (change, number, amount):
                # What a turn does it does while it runs; it can be cancelled at any time.
                guests = house.present if change is House.cancel else house.running
                if guests:
                    await change(house, guests[number % len(guests)], amount)
            case _:
                house.limit = step
        grown = house.door.load.running
        await settle()
        _check(house, before, grown)
    await _everybody_starts_and_leaves(house)


def _check(house: House, before: Price, grown: Price) -> None:
    """`before` the step, and when it had `grown` what was inside; meanwhile others may have started."""
    held, whole = house.door.load.running, house.door.load.whole
    assert held == sum((guest.ticket.held for guest in house.present), Price())
    assert held.sequences <= whole.sequences
    assert held.streams <= whole.streams
    assert held.thinker_blocks <= max(whole.thinker_blocks, before.thinker_blocks, grown.thinker_blocks)
    assert held.talker_blocks <= max(whole.talker_blocks, before.talker_blocks, grown.talker_blocks)
    if house.limit is not None:
        assert held.live <= max(house.limit, 1, before.live)
    for owner in "abc":
        assert sum(guest.ticket.owner == owner for guest in house.running) <= CAPACITY.turns_per_key


async def _everybody_starts_and_leaves(house: House) -> None:
    while house.present:
        running = house.running
        assert running, "somebody waits, and nobody runs"
        for guest in running:
            guest.leaves.set()
        await settle()
    load = house.door.load
    assert load.running == Price()
    assert (load.prompt_tokens, load.queued_media_seconds, load.media_bytes, load.keys) == (0, 0, 0, 0)
    assert (load.waiting_text, load.waiting_speech) == (0, 0)
    for owner in "abc":
        _check_debits(house, owner)


def _check_debits(house: House, owner: str) -> None:
    """A clock that stands still fills no bucket: what is missing is what turns that started have used."""
    own = [guest.ticket for guest in house.guests if guest.ticket.owner == owner]
    sizes = [one.size for one in own if one.started_at is not None]
    tokens = sum(size.prompt_tokens + size.written + size.frames for size in sizes)
    spoken_s = sum(one.size.frames for one in own) / 12.5
    assert round(CAPACITY.tokens_per_minute - house.door.rates.tokens.left(owner)) == tokens
    assert abs(CAPACITY.audio_seconds_per_minute - house.door.rates.audio.left(owner) - spoken_s) < 1e-3
