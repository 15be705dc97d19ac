"""Which waiting request starts next: fair between API keys, and only what fits beside what runs.

Smaller requests may overtake one that does not fit, for half of the queue's deadline. Then room is kept
for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from antiphon_executor.interface.capacity import FrameTime
from antiphon_server.admission.capacity import Capacity, KeyClasses, OneClass
from antiphon_server.admission.cost_model import estimate_cost
from antiphon_server.admission.fair_queue import FairQueue
from antiphon_server.admission.reservation import Kind, Reservation
from antiphon_server.admission.resources import ResourceTracker

_OVERTAKING_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Start:
    """A request that can start now. `kind`: text if its speech is optional and no stream is free."""

    reservation: Reservation
    kind: Kind


class StartOrder:
    """The requests that wait for a slot, and how many of each key run."""

    def __init__(
        self,
        capacity: Capacity,
        resources: ResourceTracker,
        frame_time: Callable[[], FrameTime],
        clock: Callable[[], float],
        classes: KeyClasses | None = None,
    ) -> None:
        self.running: Counter[str] = Counter()
        self._classes = classes or OneClass()
        self._capacity = capacity
        self._resources = resources
        self._waiting: FairQueue[Reservation] = FairQueue()
        self._frame_time = frame_time
        self._clock = clock
        self._overtaking_s = _OVERTAKING_SHARE * capacity.queue_s
        # Of the waiting: those that cannot start without a stream, and those that were live when they came.
        self._speaking: set[Reservation] = set()
        self._live: dict[Reservation, None] = {}

    def add(self, reservation: Reservation) -> None:
        reservation.waiting_since = self._clock()
        self._waiting.add(reservation)
        if reservation.kind == "speech" and not reservation.speech_optional:
            self._speaking.add(reservation)
        if reservation.live:
            self._live[reservation] = None

    def discard(self, reservation: Reservation) -> None:
        """It waits no longer and will not start."""
        self._waiting.discard(reservation)
        self._forget(reservation)

    def mark_started(self, reservation: Reservation) -> None:
        self._waiting.mark_started(reservation)
        self._forget(reservation)
        self.running[reservation.owner] += 1

    def mark_ended(self, reservation: Reservation) -> None:
        """A request that had started has ended."""
        self.running[reservation.owner] -= 1
        self.running += Counter()

    @property
    def depends_on_frame_time(self) -> bool:
        """Whether a request waits that could start because the Talker's steps became shorter."""
        return self._capacity.real_time and self._live_waits()

    def requests_limit(self, owner: str) -> int:
        """How many requests of a key run at once; 0: no limit."""
        own = self._classes.limits_of(owner).requests
        return self._capacity.requests_per_key if own is None else own

    def key_is_full(self, owner: str) -> bool:
        limit = self.requests_limit(owner)
        return bool(limit) and self.running[owner] >= limit

    def live_limit(self) -> int | None:
        """How many live streams keep real time; at least 1. None: not limited, or not measured yet."""
        limit = self._frame_time().live_stream_limit if self._capacity.real_time else None
        return None if limit is None else max(limit, 1)

    def frame_s(self) -> float:
        """Seconds of a Talker step with the streams that run; 0.0 if none runs or none was measured."""
        step_s, streams = self._frame_time().step_s, self._resources.held.streams
        return step_s[min(streams, len(step_s)) - 1] if streams and step_s else 0.0

    def next_start(self) -> Start | None:
        """The one request to start now. Each start changes the order of the others."""
        if not len(self._waiting) or self._resources.sequences_are_full:
            return None
        live_limit, now_s = self.live_limit(), self._clock()
        if len(self._speaking) == len(self._waiting) and self._is_speech_full(live_limit):
            return None
        talker_is_kept = False
        for reservation in self._waiting.in_order(self.running):
            if self.key_is_full(reservation.owner):
                continue
            overdue = now_s - reservation.waiting_since >= self._overtaking_s
            wanted, kind = reservation.estimate.resources, reservation.kind
            if kind == "speech" and (talker_is_kept or not self._speech_fits(reservation, live_limit)):
                if not reservation.speech_optional:
                    # Other speech must not take the room that it waits for; text may start.
                    talker_is_kept |= overdue and not self._resources.talker_fits(wanted)
                    continue
                kind = "text"
                wanted = estimate_cost(reservation.size, None, self._capacity).resources
            if self._resources.thinker_fits(wanted):
                return Start(reservation, kind)
            if overdue:
                return None
        return None

    def _is_speech_full(self, live_limit: int | None) -> bool:
        """Whether no request that needs a stream can start. It need not see all cases: it saves a search."""
        if self._resources.streams_are_full:
            return True
        all_live = len(self._live) == len(self._speaking)
        return all_live and live_limit is not None and self._resources.held.live >= live_limit

    def _live_waits(self) -> bool:
        while self._live:
            first = next(iter(self._live))
            if first.live:
                return True
            # Its speech was optional, and it is answered in text.
            del self._live[first]
        return False

    def _forget(self, reservation: Reservation) -> None:
        self._speaking.discard(reservation)
        self._live.pop(reservation, None)

    def _speech_fits(self, reservation: Reservation, live_limit: int | None) -> bool:
        """Whether the Talker has room for it, and keeps real time with one more live stream."""
        if not self._resources.talker_fits(reservation.estimate.resources):
            return False
        return not reservation.live or live_limit is None or self._resources.held.live < live_limit
