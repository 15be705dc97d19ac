"""Admission control: bounded queues for text and speech, shared fairly between API keys.

It promises no more than the engines have. A full speech lane never blocks a text request, and a key that
floods the queue never blocks another key. Each change that frees resources starts every request that fits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.accounts import Accounts
from antiphon_server.admission.capacity import Capacity, KeyClasses
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.estimators import bounded_retry_s
from antiphon_server.admission.lane import Lane, SpeechLane
from antiphon_server.admission.load import Load
from antiphon_server.admission.rate_limiter import RateLimiter
from antiphon_server.admission.refusals import RefusalReason, Refusals
from antiphon_server.admission.reservation import AdmissionAudit, Reservation
from antiphon_server.admission.start_order import StartOrder
from antiphon_server.errors import ApiError

# How often the Talker's step times are read while a live stream waits for them: no event reports a change.
RECHECK_S = 0.25


class AdmissionController:
    """All reservations of one server, in a text lane and a speech lane.

    For one event loop. It needs no locks, because it never awaits while it changes the accounts.
    `frame_time` returns the Talker's measured step times; it is read when a live stream could start.
    `classes`: keys with limits of their own. `audit`: is informed of each admission and refusal.
    """

    def __init__(
        self,
        capacity: Capacity,
        frame_time: Callable[[], FrameTime] = FrameTime,
        clock: Callable[[], float] = time.monotonic,
        classes: KeyClasses | None = None,
        audit: AdmissionAudit | None = None,
    ) -> None:
        self.capacity = capacity
        self._clock = clock
        self._audit = audit
        self._accounts = Accounts(capacity, clock, classes)
        self._order = StartOrder(capacity, self._accounts.resources, frame_time, clock, classes)
        self._text = Lane("text", capacity.sequences, capacity)
        self._speech = SpeechLane(capacity, self._accounts.resources, self._order.live_limit)
        # An answer that grows, or a prompt that is partly read, frees nothing, so no request can start.
        self.count_text = self._accounts.count_text
        self.count_speech = self._accounts.count_speech
        self.count_progress = self._accounts.count_progress
        self._refusals = Refusals()
        self._arrived = 0
        self._fell_back = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._recheck_timer: asyncio.TimerHandle | None = None

    @property
    def rates(self) -> RateLimiter:
        return self._accounts.rates

    @property
    def load(self) -> Load:
        accounts, text, speech = self._accounts, self._text, self._speech
        return Load(
            running=accounts.resources.held,
            total=accounts.resources.total,
            waiting_text=text.num_waiting,
            waiting_speech=speech.num_waiting,
            queued_media_seconds=accounts.media_seconds,
            media_bytes=accounts.media_bytes,
            live_limit=self._order.live_limit(),
            frame_s=self._order.frame_s(),
            prompt_tokens=accounts.prefill.tokens,
            prefill_rate=accounts.prefill.rate,
            keys=len({one.owner for one in text.requests | speech.requests}),
            admitted={text.kind: text.admitted, speech.kind: speech.admitted},
            refused=dict(self._refusals.counts),
            fell_back=self._fell_back,
            usage=accounts.usage.used,
        )

    @property
    def requests(self) -> int:
        """How many requests wait or run."""
        return len(self._text.requests) + len(self._speech.requests)

    async def until_empty(self) -> None:
        """Return when no request waits or runs."""
        await self._empty.wait()

    @contextmanager
    def admit(self, reservation: Reservation) -> Iterator[Reservation]:
        """Put a request in the queue; the end of the block releases all that it holds.

        Raises Overloaded (429) if the queue is full or the key has reached its rate limit, and Unavailable
        (503) if it asks for speech and the server has none. Optional speech falls back to text instead.
        """
        with self._audited(reservation):
            self.enter(reservation)
        try:
            yield reservation
            reservation.answered = True
        finally:
            self.leave(reservation)

    def enter(self, reservation: Reservation) -> None:
        """The start of `admit`. A full queue may evict another request, which then raises 429."""
        if reservation.speech_optional and not self._has_room_for_speech(reservation):
            reservation.fall_back_to_text()
        lane = self._lane_of(reservation)
        if lane is self._speech and not lane.slots:
            raise self._refusals.no_speech()
        self._check_rates(reservation, tokens=1, audio_s=1.0 if lane is self._speech else 0.0)
        reason = lane.why_full(reservation)
        if reason is not None:
            victim = lane.victim(reservation)
            if victim is None:
                raise self._full_error(lane, reason, reservation)
            self._evict(victim)
        self._arrived += 1
        reservation.number = self._arrived
        lane.add(reservation)
        self._empty.clear()
        self._start_waiting()

    def leave(self, reservation: Reservation) -> None:
        """The end of `admit`."""
        lane = self._lane_of(reservation)
        lane.discard(reservation)
        if not self.requests:
            self._empty.set()
        if reservation.started_at is None:
            self._withdraw(reservation)
        else:
            seconds = self._clock() - reservation.started_at
            if reservation.answered:
                lane.service_time.observe(seconds)
            else:
                lane.service_time.observe_at_least(seconds)
            self._order.mark_ended(reservation)
        self._accounts.release(reservation)
        self._start_waiting()

    def hold_media(self, reservation: Reservation, media_bytes: int) -> None:
        """Count `media_bytes` more of decoded media until the request ends.

        Raises Overloaded (429) if the media of all requests would exceed the limit. A request that is the
        only one with media is never refused here; the media policy bounds it.
        """
        if reservation.refusal:
            raise reservation.refusal
        total, limit = self._accounts.media_bytes, self.capacity.media_bytes
        others = total - reservation.media_bytes
        if others and total + media_bytes > limit:
            wait_s = self._lane_of(reservation).retry_after_s(reservation)
            raise self._refusals.media_memory_full(others, limit, wait_s)
        self._accounts.add_media(reservation, media_bytes)

    def begin_parts(self, reservation: Reservation, tokens: int, audio_s: float) -> None:
        """From now on its parts wait for slots of their own, and it cannot be evicted.

        Its key pays here for `tokens` of prompts and `audio_s`, and parts meet no rate limit. Raises
        Overloaded (429) if the key has reached one, or if the request was evicted.
        """
        if reservation.refusal:
            raise reservation.refusal
        self._check_rates(reservation, tokens, audio_s)
        self._accounts.charge(reservation, tokens, audio_s)
        reservation.has_parts = True

    async def wait_for_slot(self, reservation: Reservation, size: RequestSize) -> None:
        """Return when the request starts. `reservation.kind` then says if it is answered in text or speech.

        Raises Overloaded (429) if the key has reached its rate limit, if too much media or too many prompt
        tokens wait, or if the request is evicted. After the queue's deadline it raises Unavailable (503), or
        Overloaded if the key runs as many requests as it may.
        """
        with self._audited(reservation):
            await self._wait_for_slot(reservation, size)
        if self._audit is not None:
            self._audit.admitted(reservation, self._clock() - reservation.waiting_since)

    async def _wait_for_slot(self, reservation: Reservation, size: RequestSize) -> None:
        if reservation.refusal:
            raise reservation.refusal
        self._accounts.set_size(reservation, size)
        self._check_media(reservation)
        self._check_prompt(reservation)
        self._check_rates(reservation, size.prompt_tokens, size.heard_seconds)
        self._accounts.add_queued(reservation)
        reservation.slot = asyncio.get_running_loop().create_future()
        self._order.add(reservation)
        self._start_waiting()
        if not reservation.slot.done():
            await asyncio.wait((reservation.slot,), timeout=self.capacity.queue_s)
        if not reservation.slot.done():
            raise self._deadline_error(reservation)
        if reservation.refusal:
            raise reservation.refusal

    def correct_size(self, reservation: Reservation, size: RequestSize) -> None:
        """It has started with an estimate of its size. If it is smaller, others may start."""
        before = reservation.held
        self._accounts.correct_size(reservation, size)
        if reservation.held.is_less_somewhere(before):
            self._start_waiting()

    def count_prompt(self, reservation: Reservation, counted: PromptCounted) -> None:
        """The prompt has been read. If it is shorter than estimated, others may start."""
        before = reservation.held
        self._accounts.count_prompt(reservation, counted)
        if reservation.held.is_less_somewhere(before):
            self._start_waiting()

    def release_text(self, reservation: Reservation) -> None:
        """The answer's text is complete: others may start on its sequences and KV blocks. Idempotent."""
        if not reservation.text_is_complete:
            self._accounts.end_text(reservation)
            self._start_waiting()

    def recheck(self) -> None:
        """Start what the Talker's present step times allow. The timer calls it; harmless at any time."""
        self._recheck_timer = None
        self._start_waiting()

    @contextmanager
    def _audited(self, reservation: Reservation) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            if self._audit is not None:
                self._audit.refused(reservation, error)
            raise

    def _start_waiting(self) -> None:
        """Start all requests that can start now."""
        while (start := self._order.next_start()) is not None:
            reservation = start.reservation
            if start.kind != reservation.kind:
                self._fall_back_to_text(reservation)
            self._order.mark_started(reservation)
            self._accounts.start(reservation)
            self._lane_of(reservation).mark_started(reservation)
            self._fell_back += reservation.fell_back
            _wake(reservation)
        self._set_recheck_timer()

    def _set_recheck_timer(self) -> None:
        """One timer for all live streams that wait, and none if none waits."""
        if not self._order.depends_on_frame_time:
            if self._recheck_timer is not None:
                self._recheck_timer.cancel()
                self._recheck_timer = None
        elif self._recheck_timer is None:
            self._recheck_timer = asyncio.get_running_loop().call_later(RECHECK_S, self.recheck)

    def _lane_of(self, reservation: Reservation) -> Lane:
        return self._text if reservation.speech is None else self._speech

    def _has_room_for_speech(self, reservation: Reservation) -> bool:
        """Whether it can be queued as speech without evicting another, and its key may still use audio."""
        if not self._speech.slots or self.rates.shortage(reservation.owner, 0, 1.0):
            return False
        return self._speech.why_full(reservation) is None

    def _fall_back_to_text(self, reservation: Reservation) -> None:
        """Answer a waiting request in text."""
        self._speech.discard(reservation)
        reservation.fall_back_to_text()
        self._text.add(reservation)
        self._accounts.update_estimate(reservation)

    def _evict(self, victim: Reservation) -> None:
        """Give its place in the queue to a key that has fewer. No engine has begun on it."""
        if victim.speech_optional and not self._text.is_full:
            self._fall_back_to_text(victim)
            return
        lane = self._lane_of(victim)
        victim.refusal = self._refusals.displaced(lane.retry_after_s(victim))
        lane.discard(victim)
        self._withdraw(victim)
        _wake(victim)

    def _withdraw(self, reservation: Reservation) -> None:
        """Take a request that has not started out of the queue. Idempotent."""
        self._order.discard(reservation)
        self._accounts.undo_queued(reservation)

    def _check_media(self, reservation: Reservation) -> None:
        limit, queued = self.capacity.queued_media_seconds, self._accounts.media_seconds
        # If no media wait, none are refused for their length: the media policy bounds that.
        if queued and queued + reservation.size.media_seconds > limit:
            wait_s = self._lane_of(reservation).retry_after_s(reservation)
            raise self._refusals.media_queue_full(queued, limit, wait_s)

    def _check_prompt(self, reservation: Reservation) -> None:
        capacity, prefill = self.capacity, self._accounts.prefill
        prompt = reservation.size.prompt_tokens
        excess_s = prefill.excess_s(prompt, capacity.prefill_s, capacity.queued_prompt_tokens)
        if excess_s is None:
            wait_s = self._lane_of(reservation).retry_after_s(reservation)
            raise self._refusals.prefill_queue_full(prefill.tokens, wait_s)
        if excess_s:
            raise self._refusals.prefill_queue_full(prefill.tokens, bounded_retry_s(excess_s))

    def _check_rates(self, reservation: Reservation, tokens: int, audio_s: float) -> None:
        if reservation.part_of is not None:
            return
        refusal = self._refusals.rate_exceeded(self.rates, reservation.owner, tokens, audio_s)
        if refusal is not None:
            raise refusal

    def _full_error(self, lane: Lane, reason: RefusalReason, reservation: Reservation) -> ApiError:
        wait_s = lane.retry_after_s(reservation)
        if reason == "not_in_real_time":
            return self._refusals.not_in_real_time(self._accounts.resources.held.live, wait_s)
        return self._refusals.queue_full(lane.kind, len(lane.requests), wait_s)

    def _deadline_error(self, reservation: Reservation) -> ApiError:
        """Why it has not started in time: its key, or the server, runs as many requests as it may."""
        lane = self._lane_of(reservation)
        if self._order.key_is_full(reservation.owner):
            running = self._order.running[reservation.owner]
            own = sum(one.owner == reservation.owner for one in lane.waiting)
            wait_s = lane.service_time.retry_after_s(own - 1, running)
            limit = self._order.requests_limit(reservation.owner)
            return self._refusals.key_concurrency(running, limit, wait_s)
        return self._refusals.queue_deadline(self.capacity.queue_s, lane.retry_after_s(reservation))


def _wake(reservation: Reservation) -> None:
    if reservation.slot is not None and not reservation.slot.done():
        reservation.slot.set_result(None)
