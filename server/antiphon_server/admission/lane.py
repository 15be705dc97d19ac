"""The lanes of the admission controller: all requests for text, and all for speech."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.estimators import ServiceTime
from antiphon_server.admission.fair_queue import pick_victim
from antiphon_server.admission.refusals import RefusalReason
from antiphon_server.admission.reservation import Kind, Reservation
from antiphon_server.admission.resources import ResourceTracker


class Lane:
    """Requests of one kind, waiting and running. `slots` run at once. `admitted` counts starts.

    What every request asks for is counted as requests come and go: it takes no search through them.
    """

    def __init__(self, kind: Kind, slots: int, capacity: Capacity) -> None:
        self.kind = kind
        self.slots = slots
        self.service_time = ServiceTime()
        self.admitted = 0
        self.requests: set[Reservation] = set()
        self._running = 0
        self._live_waiting = 0
        self._limit = slots + capacity.queued_requests

    def add(self, reservation: Reservation) -> None:
        """It waits from now on."""
        self.requests.add(reservation)
        self._live_waiting += reservation.live

    def mark_started(self, reservation: Reservation) -> None:
        """It runs from now on."""
        self.admitted += 1
        self._running += 1
        self._live_waiting -= reservation.live

    def discard(self, reservation: Reservation) -> None:
        """It neither waits nor runs any more. Idempotent."""
        if reservation not in self.requests:
            return
        self.requests.discard(reservation)
        if reservation.started_at is None:
            self._live_waiting -= reservation.live
        else:
            self._running -= 1

    @property
    def num_waiting(self) -> int:
        return len(self.requests) - self._running

    @property
    def waiting(self) -> list[Reservation]:
        """Requests that have not started, nor a part of them, in the order of arrival."""
        waiting = (one for one in self.requests if one.started_at is None and not one.has_parts)
        return sorted(waiting, key=attrgetter("number"))

    @property
    def is_full(self) -> bool:
        return len(self.requests) >= self._limit

    def why_full(self, newcomer: Reservation) -> RefusalReason | None:
        """Why `newcomer` cannot be queued unless another request is evicted. None: it can."""
        return "queue_full" if self.is_full else None

    def victim(self, newcomer: Reservation) -> Reservation | None:
        """The waiting request to evict for `newcomer`, if its key has fewer. None: refuse `newcomer`."""
        return pick_victim(self.waiting, newcomer)

    def slots_for(self, reservation: Reservation) -> int:
        """How many requests like this one run at once."""
        return self.slots

    def retry_after_s(self, reservation: Reservation) -> float:
        """When it would start behind all others that wait now."""
        waits = reservation in self.requests and reservation.started_at is None
        ahead = self.num_waiting - waits
        return self.service_time.retry_after_s(ahead, self.slots_for(reservation))


class SpeechLane(Lane):
    """Live streams are also bounded by `live_limit()`: how many the Talker generates in real time."""

    def __init__(
        self, capacity: Capacity, resources: ResourceTracker, live_limit: Callable[[], int | None]
    ) -> None:
        super().__init__("speech", capacity.streams, capacity)
        self._queue_s = capacity.queue_s
        self._resources = resources
        self._live_limit = live_limit

    def why_full(self, newcomer: Reservation) -> RefusalReason | None:
        if self.is_full:
            return "queue_full"
        return "not_in_real_time" if newcomer.live and self._is_beyond_real_time() else None

    def victim(self, newcomer: Reservation) -> Reservation | None:
        """If there is a place but no real time left for `newcomer`, only a live stream makes room."""
        return pick_victim([one for one in self.waiting if one.live or self.is_full], newcomer)

    def slots_for(self, reservation: Reservation) -> int:
        limit = self._live_limit() if reservation.live else None
        return self.slots if limit is None else min(limit, self.slots)

    def _is_beyond_real_time(self) -> bool:
        """Whether one more live stream would wait past the deadline for others to end."""
        limit = self._live_limit()
        if limit is None or limit >= self.slots:
            return False
        ahead = self._resources.held.live + self._live_waiting - limit
        return ahead >= 0 and self.service_time.start_in_s(ahead, limit) > self._queue_s
