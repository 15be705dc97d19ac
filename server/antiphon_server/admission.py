"""Who may come in: bounded places, first come first served, speech and text apart.

In: one `Ticket` a turn. Out: it is admitted, or refused at once (429) or after the queue's deadline (503).
It never holds more turns than it promised, and a full speech side never blocks a text-only turn.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from antiphon_server.errors import Overloaded, Unavailable

_SHORTEST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Capacity:
    """`sequences`: texts written at once. `streams`: answers spoken at once. `media_bytes`: decoded media of
    all turns, waiting and running. The rest bounds the queue.
    """

    sequences: int
    streams: int
    queued_turns: int
    queued_media_seconds: float
    queue_s: float
    media_bytes: int


@dataclass(frozen=True, slots=True)
class Load:
    """The state of the door, for metrics."""

    running_sequences: int
    running_streams: int
    waiting_text: int
    waiting_speech: int
    queued_media_seconds: float
    media_bytes: int


class Ticket:
    """One turn's place. `async with` takes the place and gives it back, whatever happens in between.

    Between the two: `hold(media_bytes)` counts what its media take; `await start(media_seconds)` waits for a
    slot; `text_ended()` gives the Thinker's part back while the answer is still being spoken.
    """

    def __init__(self, door: Admission, speaks: bool, choices: int) -> None:
        self._door = door
        self.speaks = speaks
        self.sequences = min(choices, door.capacity.sequences)
        self.media_seconds = 0.0
        self.media_bytes = 0
        self.started_at: float | None = None
        self.slot: asyncio.Future[None] | None = None
        self.holds_sequences = False

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

        Raises `Overloaded` when too much media waits, `Unavailable` past the queue's deadline.
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
        self._inside: set[Ticket] = set()
        self._waiting: deque[Ticket] = deque()
        self._free_sequences = capacity.sequences
        self._free_streams = capacity.streams
        self._media_seconds = 0.0
        self._media_bytes = 0
        self._typical_turn_s = 2.0
        self._empty = asyncio.Event()
        self._empty.set()

    def ticket(self, *, speaks: bool, choices: int = 1) -> Ticket:
        """A place for one turn of `choices` texts; `speaks` asks for a stream too. Entering may refuse it."""
        return Ticket(self, speaks, choices)

    @property
    def load(self) -> Load:
        pending = [ticket for ticket in self._inside if ticket.started_at is None]
        speech = sum(ticket.speaks for ticket in pending)
        return Load(
            running_sequences=self.capacity.sequences - self._free_sequences,
            running_streams=self.capacity.streams - self._free_streams,
            waiting_text=len(pending) - speech,
            waiting_speech=speech,
            queued_media_seconds=self._media_seconds,
            media_bytes=self._media_bytes,
        )

    @property
    def turns(self) -> int:
        """Turns inside, waiting or running."""
        return len(self._inside)

    async def until_empty(self) -> None:
        """Wait until no turn is inside."""
        await self._empty.wait()

    def enter(self, ticket: Ticket) -> None:
        places = self.capacity.streams if ticket.speaks else self.capacity.sequences
        if ticket.speaks and not places:
            raise Unavailable("this server does not speak", code="no_speech")
        same_kind = [other for other in self._inside if other.speaks == ticket.speaks]
        if len(same_kind) >= places + self.capacity.queued_turns:
            kind = "spoken" if ticket.speaks else "text"
            raise Overloaded(
                f"{len(same_kind)} {kind} turns are running or waiting, which is all this server takes",
                code="queue_full",
                retry_after_s=self._retry_after_s(len(same_kind) - places, places),
            )
        self._inside.add(ticket)
        self._empty.clear()

    def hold(self, ticket: Ticket, media_bytes: int) -> None:
        others, limit = self._media_bytes - ticket.media_bytes, self.capacity.media_bytes
        # A turn that is alone with its media is bounded by the media policy, and never told to come back.
        if others and self._media_bytes + media_bytes > limit:
            raise Overloaded(
                f"other turns' media take {others >> 20} MiB of memory; the limit is {limit >> 20} MiB",
                code="media_memory_full",
                retry_after_s=self._retry_after_s(len(self._inside), self.capacity.sequences),
            )
        ticket.media_bytes += media_bytes
        self._media_bytes += media_bytes

    async def start(self, ticket: Ticket, media_seconds: float) -> None:
        self._count_media(ticket, media_seconds)
        ticket.slot = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        self._hand_out()
        try:
            async with asyncio.timeout(self.capacity.queue_s):
                await ticket.slot
        except TimeoutError:
            raise Unavailable(
                f"no slot came free within {self.capacity.queue_s:g} s",
                code="queue_deadline",
                retry_after_s=self._retry_after_s(len(self._waiting), self.capacity.sequences),
            ) from None

    def leave(self, ticket: Ticket) -> None:
        self._inside.discard(ticket)
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
        self.text_ended(ticket)
        self._hand_out()

    def text_ended(self, ticket: Ticket) -> None:
        if ticket.holds_sequences:
            ticket.holds_sequences = False
            self._free_sequences += ticket.sequences
            self._hand_out()

    def _count_media(self, ticket: Ticket, media_seconds: float) -> None:
        limit = self.capacity.queued_media_seconds
        # A turn that would wait for nobody is not refused for its length: the media policy bounds that.
        if self._media_seconds and self._media_seconds + media_seconds > limit:
            raise Overloaded(
                f"{self._media_seconds:.0f} s of audio and video are waiting; the limit is {limit:.0f} s",
                code="media_queue_full",
                retry_after_s=self._retry_after_s(len(self._waiting), self.capacity.sequences),
            )
        ticket.media_seconds = media_seconds
        self._media_seconds += media_seconds

    def _hand_out(self) -> None:
        """Give free slots out in order of arrival; who needs a stream is passed over while none is free."""
        for ticket in list(self._waiting):
            if ticket.sequences > self._free_sequences:
                return
            if ticket.speaks and not self._free_streams:
                continue
            self._forget_wait(ticket)
            self._free_sequences -= ticket.sequences
            self._free_streams -= ticket.speaks
            ticket.holds_sequences = True
            ticket.started_at = self._clock()
            if ticket.slot is not None and not ticket.slot.done():
                ticket.slot.set_result(None)

    def _forget_wait(self, ticket: Ticket) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._media_seconds -= ticket.media_seconds
        ticket.media_seconds = 0.0

    def _retry_after_s(self, ahead: int, places: int) -> float:
        estimate = self._typical_turn_s * (ahead + 1) / max(places, 1)
        return min(max(estimate, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
