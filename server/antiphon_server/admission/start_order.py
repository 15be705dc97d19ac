"""Which waiting request starts next: the fair order of keys, and what still fits beside what runs.

In: waiting tickets, what has started, the Talker's step times. Out: the next start. Nothing is awaited here.
A request that does not fit lets smaller ones pass for half of the queue's deadline; then room is kept for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.fair_queue import FairQueue
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resource_tracker import ResourceTracker, whole_of

_PASSING_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Start:
    """`speaks`: False where the request takes text because no stream is free now."""

    ticket: Reservation
    speaks: bool


class StartOrder:
    """The waiting tickets of one server, how many of each key run, and what those hold."""

    def __init__(
        self, capacity: Capacity, frame_time: Callable[[], FrameTime], clock: Callable[[], float]
    ) -> None:
        self.capacity = capacity
        self.ledger = ResourceTracker(whole_of(capacity))
        self.running: Counter[str] = Counter()
        self._waiting: FairQueue[Reservation] = FairQueue()
        self._frame_time = frame_time
        self._clock = clock
        self._passing_s = _PASSING_SHARE * capacity.queue_s

    def add(self, ticket: Reservation) -> None:
        ticket.waiting_since = self._clock()
        self._waiting.add(ticket)

    def discard(self, ticket: Reservation) -> None:
        """It waits no longer and will not start."""
        self._waiting.discard(ticket)

    def started(self, ticket: Reservation) -> None:
        self._waiting.started(ticket)
        self.running[ticket.owner] += 1

    def ended(self, ticket: Reservation) -> None:
        """One that had started."""
        self.running[ticket.owner] -= 1
        self.running += Counter()

    @property
    def a_listener_waits(self) -> bool:
        """Whether a step of the Talker that becomes shorter could let a waiting request start."""
        return self.capacity.real_time and any(one.live for one in self._waiting)

    def key_is_full(self, owner: str) -> bool:
        limit = self.capacity.turns_per_key
        return bool(limit) and self.running[owner] >= limit

    def live_limit(self) -> int | None:
        """None: as many as there are streams. One is never refused for a Talker that is too slow for it."""
        limit = self._frame_time().live_stream_limit if self.capacity.real_time else None
        return None if limit is None else max(limit, 1)

    def frame_s(self) -> float:
        """What the Talker's steps take with the streams that there are."""
        step_s, streams = self._frame_time().step_s, self.ledger.held.streams
        return step_s[min(streams, len(step_s)) - 1] if streams and step_s else 0.0

    def next(self) -> Start | None:
        """Each start changes the order of the others, so that only one is given at a time."""
        if not len(self._waiting):
            return None
        live_limit, now_s = self.live_limit(), self._clock()
        talker_is_kept = False
        for ticket in self._waiting.in_order(self.running):
            if self.key_is_full(ticket.owner):
                continue
            overdue = now_s - ticket.waiting_since >= self._passing_s
            speaks = ticket.speaks and not talker_is_kept and self._speech_fits(ticket, live_limit)
            if ticket.speaks and not speaks and not ticket.speech_optional:
                # Other speech must not take what it waits for; texts may pass.
                talker_is_kept |= overdue and not self.ledger.talker_fits(ticket.price)
                continue
            price = ticket.price if speaks == ticket.speaks else ticket.price_in_text
            if self.ledger.thinker_fits(price):
                return Start(ticket, speaks)
            if overdue:
                return None
        return None

    def _speech_fits(self, ticket: Reservation, live_limit: int | None) -> bool:
        return self.ledger.talker_fits(ticket.price) and self._keeps_pace(ticket, live_limit)

    def _keeps_pace(self, ticket: Reservation, live_limit: int | None) -> bool:
        """Whether the Talker keeps real time with one more; speech without a listener needs no pace."""
        return not ticket.live or live_limit is None or self.ledger.held.live < live_limit
