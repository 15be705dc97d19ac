"""Who may come in: bounded places, shared fairly between keys, speech and text apart.

In: one `Ticket` a turn. Out: it is admitted, or refused at once (429) or after the queue's deadline (503).
It never holds more turns than it promised; a full speech side never blocks a text-only turn, and a key that
floods the queue never another key.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from antiphon_server.errors import ApiError, Overloaded, Unavailable
from antiphon_server.fair_queue import FairQueue, who_gives_way

# Also the `code` of the error that the client sees.
Refusal = Literal[
    "queue_full", "displaced", "queue_deadline", "media_memory_full", "media_queue_full", "no_speech"
]

_SHORTEST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Capacity:
    """`sequences`: texts written at once. `streams`: answers spoken at once. `media_bytes`: decoded media of
    all turns, waiting and running. `turns_per_key`: how many of one key run at once, 0 for as many as there
    are places. The rest bounds the queue.
    """

    sequences: int
    streams: int
    queued_turns: int
    queued_media_seconds: float
    queue_s: float
    media_bytes: int
    turns_per_key: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """The state of the door, for metrics. `admitted`, `refused` and `softened` count since the start."""

    running_sequences: int
    running_streams: int
    waiting_text: int
    waiting_speech: int
    queued_media_seconds: float
    media_bytes: int
    keys: int = 0
    admitted: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    softened: int = 0


class Ticket:
    """One turn's place. `async with` takes the place and gives it back, whatever happens in between.

    Between the two: `hold(media_bytes)` counts what its media take; `await start(media_seconds)` waits for a
    slot; `text_ended()` gives the Thinker's part back while the answer is still being spoken.
    """

    def __init__(self, door: Admission, speaks: bool, choices: int, owner: str) -> None:
        self._door = door
        self.owner = owner
        self.speaks = speaks
        self.sequences = min(choices, door.capacity.sequences)
        self.media_seconds = 0.0
        self.media_bytes = 0
        self.started_at: float | None = None
        self.slot: asyncio.Future[None] | None = None
        self.holds_sequences = False
        self.refusal: ApiError | None = None

    async def __aenter__(self) -> Self:
        self._door.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._door.leave(self)

    def hold(self, media_bytes: int) -> None:
        """So much more decoded media, until the turn ends. Raises `Overloaded` where others leave no room."""
        self._door.hold(self, media_bytes)

    async def start(self, media_seconds: float = 0.0) -> None:
        """Wait for a slot. `media_seconds`: sound and video of the turn, which count while it waits.

        Raises `Overloaded` when too much media waits, or when the place in the queue went to a key that has
        fewer; `Unavailable` past the queue's deadline.
        """
        await self._door.start(self, media_seconds)

    def text_ended(self) -> None:
        """The text is complete: another turn may write. May be called more than once."""
        self._door.text_ended(self)


class Admission:
    """The door. One event loop; no locks are needed, since nothing here awaits while it counts."""

    def __init__(self, capacity: Capacity, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self._inside: dict[Ticket, None] = {}
        self._waiting: FairQueue[Ticket] = FairQueue()
        self._running: Counter[str] = Counter()
        self._free_sequences = capacity.sequences
        self._free_streams = capacity.streams
        self._media_seconds = 0.0
        self._media_bytes = 0
        self._typical_turn_s = 2.0
        self._admitted: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._softened = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def ticket(self, *, speaks: bool, choices: int = 1, owner: str = "") -> Ticket:
        """A place for one turn of `choices` texts; `speaks` asks for a stream too. Entering may refuse it.

        `owner`: stands for the key that the request came with; the queue is shared fairly between owners.
        """
        return Ticket(self, speaks, choices, owner)

    def takes(self, *, speaks: bool, owner: str = "") -> bool:
        """Whether such a ticket could enter now."""
        places = self._places(speaks)
        if speaks and not places:
            return False
        pending = self._pending(speaks)
        if self._turns(speaks) < places + self.capacity.queued_turns:
            return True
        return who_gives_way(pending, owner) is not None

    def soften(self) -> None:
        """Counts a turn that takes text for an answer, since no speech could be promised."""
        self._softened += 1

    @property
    def load(self) -> Load:
        speech, text = len(self._pending(True)), len(self._pending(False))
        return Load(
            running_sequences=self.capacity.sequences - self._free_sequences,
            running_streams=self.capacity.streams - self._free_streams,
            waiting_text=text,
            waiting_speech=speech,
            queued_media_seconds=self._media_seconds,
            media_bytes=self._media_bytes,
            keys=len({ticket.owner for ticket in self._inside}),
            admitted=dict(self._admitted),
            refused=dict(self._refused),
            softened=self._softened,
        )

    @property
    def turns(self) -> int:
        """Turns inside, waiting or running."""
        return len(self._inside)

    async def until_empty(self) -> None:
        """Wait until no turn is inside."""
        await self._empty.wait()

    def enter(self, ticket: Ticket) -> None:
        places = self._places(ticket.speaks)
        if ticket.speaks and not places:
            raise self._unavailable("no_speech", "this server does not speak")
        turns = self._turns(ticket.speaks)
        if turns >= places + self.capacity.queued_turns:
            victim = who_gives_way(self._pending(ticket.speaks), ticket.owner)
            if victim is None:
                kind = "spoken" if ticket.speaks else "text"
                message = f"{turns} {kind} turns are running or waiting, which is all this server takes"
                raise self._overloaded("queue_full", message, self._retry_after_s(turns - places, places))
            self._displace(victim)
        self._inside[ticket] = None
        self._empty.clear()

    def hold(self, ticket: Ticket, media_bytes: int) -> None:
        if ticket.refusal:
            raise ticket.refusal
        others, limit = self._media_bytes - ticket.media_bytes, self.capacity.media_bytes
        # A turn that is alone with its media is bounded by the media policy, and never told to come back.
        if others and self._media_bytes + media_bytes > limit:
            message = f"other turns' media take {others >> 20} MiB of memory; the limit is {limit >> 20} MiB"
            wait_s = self._retry_after_s(len(self._inside), self.capacity.sequences)
            raise self._overloaded("media_memory_full", message, wait_s)
        ticket.media_bytes += media_bytes
        self._media_bytes += media_bytes

    async def start(self, ticket: Ticket, media_seconds: float) -> None:
        if ticket.refusal:
            raise ticket.refusal
        self._count_media(ticket, media_seconds)
        ticket.slot = asyncio.get_running_loop().create_future()
        self._waiting.add(ticket)
        self._hand_out()
        try:
            async with asyncio.timeout(self.capacity.queue_s):
                await ticket.slot
        except TimeoutError:
            message = f"no slot came free within {self.capacity.queue_s:g} s"
            wait_s = self._retry_after_s(len(self._waiting), self.capacity.sequences)
            raise self._unavailable("queue_deadline", message, wait_s) from None
        if ticket.refusal:
            raise ticket.refusal

    def leave(self, ticket: Ticket) -> None:
        self._inside.pop(ticket, None)
        self._media_bytes -= ticket.media_bytes
        ticket.media_bytes = 0
        if not self._inside:
            self._empty.set()
        if ticket.started_at is None:
            self._forget_wait(ticket)
        else:
            took_s = self._clock() - ticket.started_at
            self._typical_turn_s += _SMOOTHING * (took_s - self._typical_turn_s)
            self._free_streams += ticket.speaks
            self._running[ticket.owner] -= 1
            self._running += Counter()
        self.text_ended(ticket)
        self._hand_out()

    def text_ended(self, ticket: Ticket) -> None:
        if ticket.holds_sequences:
            ticket.holds_sequences = False
            self._free_sequences += ticket.sequences
            self._hand_out()

    def _places(self, speaks: bool) -> int:
        return self.capacity.streams if speaks else self.capacity.sequences

    def _turns(self, speaks: bool) -> int:
        return sum(ticket.speaks == speaks for ticket in self._inside)

    def _pending(self, speaks: bool) -> list[Ticket]:
        """Inside and not started, in the order of arrival."""
        return [ticket for ticket in self._inside if ticket.started_at is None and ticket.speaks == speaks]

    def _displace(self, victim: Ticket) -> None:
        """Its place in the queue goes to a key that has fewer; no engine has begun on it."""
        places = self._places(victim.speaks)
        wait_s = self._retry_after_s(self._turns(victim.speaks) - places, places)
        message = "the place in the queue went to another key, which had fewer turns waiting"
        victim.refusal = self._overloaded("displaced", message, wait_s)
        del self._inside[victim]
        self._forget_wait(victim)
        if victim.slot is not None and not victim.slot.done():
            victim.slot.set_result(None)

    def _count_media(self, ticket: Ticket, media_seconds: float) -> None:
        limit = self.capacity.queued_media_seconds
        # A turn that would wait for nobody is not refused for its length: the media policy bounds that.
        if self._media_seconds and self._media_seconds + media_seconds > limit:
            message = (
                f"{self._media_seconds:.0f} s of audio and video are waiting; the limit is {limit:.0f} s"
            )
            wait_s = self._retry_after_s(len(self._waiting), self.capacity.sequences)
            raise self._overloaded("media_queue_full", message, wait_s)
        ticket.media_seconds = media_seconds
        self._media_seconds += media_seconds

    def _hand_out(self) -> None:
        """Give free slots out, one at a time: each start changes who is next."""
        while (ticket := self._next()) is not None:
            self._forget_wait(ticket)
            self._waiting.started(ticket)
            self._running[ticket.owner] += 1
            self._admitted["speech" if ticket.speaks else "text"] += 1
            self._free_sequences -= ticket.sequences
            self._free_streams -= ticket.speaks
            ticket.holds_sequences = True
            ticket.started_at = self._clock()
            if ticket.slot is not None and not ticket.slot.done():
                ticket.slot.set_result(None)

    def _next(self) -> Ticket | None:
        """Who starts now. What else a start must be promised (cache blocks, time) is to be asked here."""
        limit = self.capacity.turns_per_key
        for ticket in self._waiting.in_order(self._running):
            if limit and self._running[ticket.owner] >= limit:
                continue
            if ticket.sequences > self._free_sequences:
                # Later ones that need fewer must not keep it waiting for ever.
                return None
            if not ticket.speaks or self._free_streams:
                return ticket
        return None

    def _forget_wait(self, ticket: Ticket) -> None:
        self._waiting.discard(ticket)
        self._media_seconds -= ticket.media_seconds
        ticket.media_seconds = 0.0

    def _overloaded(self, reason: Refusal, message: str, retry_after_s: float) -> Overloaded:
        self._refused[reason] += 1
        return Overloaded(message, code=reason, retry_after_s=retry_after_s)

    def _unavailable(self, reason: Refusal, message: str, retry_after_s: float | None = None) -> Unavailable:
        self._refused[reason] += 1
        return Unavailable(message, code=reason, retry_after_s=retry_after_s)

    def _retry_after_s(self, ahead: int, places: int) -> float:
        estimate = self._typical_turn_s * (ahead + 1) / max(places, 1)
        return min(max(estimate, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
