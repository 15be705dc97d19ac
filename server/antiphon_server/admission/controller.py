"""Admission control: bounded queues for text and speech, shared fairly between API keys.

In: one `Reservation` a request. Out: it starts, or it is refused: at once, or past the queue's deadline.
It never promises more than there is. A full speech side never blocks a text request, and a key that floods
the queue never another key. Every change here ends by starting all requests that can start now.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.capacity import Capacity, Load, Price, Refusal
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.fair_queue import who_gives_way
from antiphon_server.admission.key_rates import KeyRates
from antiphon_server.admission.prefill_meter import PrefillMeter
from antiphon_server.admission.refusals import Refusals
from antiphon_server.admission.request_times import RequestTimes, bounded_retry_s
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.start_order import StartOrder
from antiphon_server.errors import ApiError

# How often the Talker's step times are read while a listener waits for them: nothing else says they changed.
LOOK_AGAIN_S = 0.25


class Admission:
    """The controller. One event loop; no locks are needed, since nothing here awaits while it counts.

    `frame_time`: read whenever a listener wants to start.
    """

    def __init__(
        self,
        capacity: Capacity,
        frame_time: Callable[[], FrameTime] = FrameTime,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.rates = KeyRates(capacity, clock)
        self._clock = clock
        self._inside: dict[Reservation, None] = {}
        self._order = StartOrder(capacity, frame_time, clock)
        self._ledger = self._order.ledger
        self._prefill = PrefillMeter()
        self._times = RequestTimes()
        self._refusals = Refusals()
        self._media_seconds = 0.0
        self._media_bytes = 0
        self._admitted: Counter[str] = Counter()
        self._softened = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._timer: asyncio.TimerHandle | None = None

    def reserve(
        self,
        *,
        speaks: bool,
        live: bool = True,
        choices: int = 1,
        owner: str = "",
        speech_optional: bool = False,
    ) -> Reservation:
        """A place for one request of `choices` texts; `speaks` asks for a stream too. Entering may refuse it.

        `live`: a client listens while it speaks. `owner`: stands for the key that the request came with; the
        queue is shared fairly between owners. `speech_optional`: if no stream is free when it could start, it
        starts as a text request.
        """
        return Reservation(
            self, speaks=speaks, live=live, choices=choices, owner=owner, speech_optional=speech_optional
        )

    @property
    def load(self) -> Load:
        return Load(
            running=self._ledger.held,
            whole=self._ledger.whole,
            waiting_text=len(self._pending(False)),
            waiting_speech=len(self._pending(True)),
            queued_media_seconds=self._media_seconds,
            media_bytes=self._media_bytes,
            live_limit=self._order.live_limit(),
            frame_s=self._order.frame_s(),
            prompt_tokens=self._prefill.tokens,
            prefill_rate=self._prefill.rate,
            keys=len({ticket.owner for ticket in self._inside}),
            admitted=dict(self._admitted),
            refused=dict(self._refusals.counts),
            softened=self._softened,
        )

    @property
    def turns(self) -> int:
        """Requests inside, waiting or running."""
        return len(self._inside)

    async def until_empty(self) -> None:
        """Wait until no request is inside."""
        await self._empty.wait()

    def enter(self, ticket: Reservation) -> None:
        if ticket.speech_optional and not self._takes_speech(ticket):
            ticket.fall_back_to_text()
        if ticket.speaks and not self.capacity.streams:
            raise self._refusals.no_speech()
        self._check_rates(ticket, tokens=1, audio_s=1.0 if ticket.speaks else 0.0)
        reason = self._full(ticket.speaks, ticket.live)
        if reason is not None:
            victim = self._gives_way(reason, ticket.speaks, ticket.owner)
            if victim is None:
                raise self._full_because(reason, ticket)
            self._displace(victim)
        self._inside[ticket] = None
        self._empty.clear()
        self._hand_out()

    def hold(self, ticket: Reservation, media_bytes: int) -> None:
        if ticket.refusal:
            raise ticket.refusal
        others, limit = self._media_bytes - ticket.media_bytes, self.capacity.media_bytes
        # A request that is alone with its media is bounded by the media policy, and never refused here.
        if others and self._media_bytes + media_bytes > limit:
            raise self._refusals.media_memory_full(others, limit, self._wait_s(ticket))
        ticket.media_bytes += media_bytes
        self._media_bytes += media_bytes

    async def start(self, ticket: Reservation) -> None:
        if ticket.refusal:
            raise ticket.refusal
        self._check_media(ticket)
        self._check_prompt(ticket)
        self._check_rates(ticket, ticket.size.prompt_tokens, ticket.size.heard_seconds)
        self._count(ticket)
        ticket.slot = asyncio.get_running_loop().create_future()
        self._order.add(ticket)
        self._hand_out()
        await asyncio.wait((ticket.slot,), timeout=self.capacity.queue_s)
        if not ticket.slot.done():
            raise self._late(ticket)
        if ticket.refusal:
            raise ticket.refusal

    def prompt_read(self, ticket: Reservation, counted: PromptCounted) -> None:
        """Its first token is there. What was an estimate is known now."""
        if ticket.started_at is not None:
            computed = counted.total - counted.cached
            self._prefill.measured(ticket.started_at, self._clock(), computed)
        self._prefill.remove(ticket.unread_tokens)
        ticket.unread_tokens = 0
        self._debit(ticket, counted.total - ticket.size.prompt_tokens, 0.0)
        self._resize(ticket, replace(ticket.size, prompt_tokens=counted.total))

    def grown(self, ticket: Reservation, size: RequestSize, tokens: int, audio_s: float) -> None:
        """Its answer is longer by `tokens`, and by `audio_s` of speech."""
        self._debit(ticket, tokens, audio_s)
        self._resize(ticket, size)

    def text_ended(self, ticket: Reservation) -> None:
        if not ticket.text_is_complete:
            ticket.text_is_complete = True
            self._hold(ticket, ticket.held.spoken_part)
            self._hand_out()

    def leave(self, ticket: Reservation) -> None:
        self._inside.pop(ticket, None)
        self._media_bytes -= ticket.media_bytes
        ticket.media_bytes = 0
        if not self._inside:
            self._empty.set()
        if ticket.started_at is None:
            self._take_back(ticket)
        else:
            self._prefill.remove(ticket.unread_tokens)
            ticket.unread_tokens = 0
            took = self._times.took if ticket.is_whole else self._times.took_at_least
            took(ticket.speaks, self._clock() - ticket.started_at)
            self._order.ended(ticket)
        self._hold(ticket, Price())
        self._hand_out()

    def look_again(self) -> None:
        """Start what the Talker's present step times allow. The timer's; harmless at any time."""
        self._timer = None
        self._hand_out()

    def _hand_out(self) -> None:
        """Start all that can: after it, no request waits that `StartOrder` would start."""
        while (start := self._order.next()) is not None:
            ticket = start.ticket
            if ticket.speaks and not start.speaks:
                ticket.fall_back_to_text()
            self._stop_waiting(ticket)
            self._order.started(ticket)
            self._admitted["speech" if ticket.speaks else "text"] += 1
            self._softened += ticket.fell_back
            self._hold(ticket, ticket.price)
            ticket.started_at = self._clock()
            _wake(ticket)
        self._set_timer()

    def _set_timer(self) -> None:
        """One for all listeners that wait, and none where none waits."""
        if not self._order.a_listener_waits:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self.look_again)

    def _hold(self, ticket: Reservation, price: Price) -> None:
        self._ledger.change(ticket.held, price)
        ticket.held = price

    def _resize(self, ticket: Reservation, size: RequestSize) -> None:
        """What it holds follows. A counted prompt may be smaller than its estimate: then others may start."""
        before = ticket.held
        ticket.resize(size)
        if ticket.started_at is not None:
            self._hold(ticket, ticket.price.spoken_part if ticket.text_is_complete else ticket.price)
            if ticket.held.is_less_somewhere(before):
                self._hand_out()

    def _debit(self, ticket: Reservation, tokens: int, audio_s: float) -> None:
        self.rates.take(ticket.owner, tokens, audio_s)
        debited_tokens, debited_s = ticket.debited
        ticket.debited = debited_tokens + tokens, debited_s + audio_s

    def _count(self, ticket: Reservation) -> None:
        """It waits, with its media and its prompt."""
        size = ticket.size
        ticket.media_seconds, ticket.unread_tokens = size.media_seconds, size.prompt_tokens
        self._media_seconds += size.media_seconds
        self._prefill.add(size.prompt_tokens)
        self._debit(ticket, size.prompt_tokens, size.heard_seconds)

    def _stop_waiting(self, ticket: Reservation) -> None:
        self._order.discard(ticket)
        self._media_seconds -= ticket.media_seconds
        ticket.media_seconds = 0.0

    def _take_back(self, ticket: Reservation) -> None:
        """All of a request that never started. More than once is as good as once."""
        self._stop_waiting(ticket)
        self._prefill.remove(ticket.unread_tokens)
        ticket.unread_tokens = 0
        tokens, audio_s = ticket.debited
        self._debit(ticket, -tokens, -audio_s)

    def _takes_speech(self, ticket: Reservation) -> bool:
        """Whether it can come in as speech without displacing another, and its key may still use sound."""
        if not self.capacity.streams or self.rates.short(ticket.owner, 0, 1.0):
            return False
        return self._full(True, ticket.live) is None

    def _places(self, speaks: bool, live: bool) -> int:
        if not speaks:
            return self.capacity.sequences
        limit = self._order.live_limit() if live else None
        return self.capacity.streams if limit is None else min(limit, self.capacity.streams)

    def _turns(self, speaks: bool) -> int:
        return sum(ticket.speaks == speaks for ticket in self._inside)

    def _pending(self, speaks: bool) -> list[Reservation]:
        """Inside and not started, in the order of arrival."""
        return [ticket for ticket in self._inside if ticket.started_at is None and ticket.speaks == speaks]

    def _full(self, speaks: bool, live: bool) -> Refusal | None:
        """Why no other such request can come in, unless it displaces one."""
        places = self.capacity.streams if speaks else self.capacity.sequences
        if self._turns(speaks) >= places + self.capacity.queued_turns:
            return "queue_full"
        return "not_in_real_time" if speaks and live and self._is_too_slow() else None

    def _is_too_slow(self) -> bool:
        """Whether one more listener would wait past the deadline for the others to be done."""
        limit = self._order.live_limit()
        if limit is None or limit >= self.capacity.streams:
            return False
        pending = sum(ticket.live for ticket in self._pending(True))
        ahead = self._ledger.held.live + pending - limit
        return ahead >= 0 and self._times.start_in_s(True, ahead, limit) > self.capacity.queue_s

    def _gives_way(self, reason: Refusal, speaks: bool, owner: str) -> Reservation | None:
        pool = [one for one in self._pending(speaks) if one.live or reason != "not_in_real_time"]
        return who_gives_way(pool, owner)

    def _displace(self, victim: Reservation) -> None:
        """Its place in the queue goes to a key that has fewer; no engine has begun on it."""
        if victim.speech_optional and self._full(False, False) is None:
            victim.fall_back_to_text()
            return
        victim.refusal = self._refusals.displaced(self._wait_s(victim))
        del self._inside[victim]
        self._take_back(victim)
        _wake(victim)

    def _late(self, ticket: Reservation) -> ApiError:
        """Why it has not started within the deadline: its key runs as many as it may, or the server does."""
        if self._order.key_is_full(ticket.owner):
            own = [one for one in self._pending(ticket.speaks) if one.owner == ticket.owner]
            running = self._order.running[ticket.owner]
            wait_s = self._times.retry_after_s(ticket.speaks, len(own) - 1, running)
            return self._refusals.key_concurrency(running, self.capacity.turns_per_key, wait_s)
        return self._refusals.queue_deadline(self.capacity.queue_s, self._wait_s(ticket))

    def _check_media(self, ticket: Reservation) -> None:
        limit, waiting = self.capacity.queued_media_seconds, self._media_seconds
        # Where no media wait, none are refused for their length: the media policy bounds that.
        if waiting and waiting + ticket.size.media_seconds > limit:
            raise self._refusals.media_queue_full(waiting, limit, self._wait_s(ticket))

    def _check_prompt(self, ticket: Reservation) -> None:
        capacity, prompt = self.capacity, ticket.size.prompt_tokens
        over_s = self._prefill.over_s(prompt, capacity.prefill_s, capacity.queued_prompt_tokens)
        if over_s != 0.0:
            wait_s = self._wait_s(ticket) if over_s is None else bounded_retry_s(over_s)
            raise self._refusals.prefill_queue_full(self._prefill.tokens, wait_s)

    def _check_rates(self, ticket: Reservation, tokens: int, audio_s: float) -> None:
        refusal = self._refusals.rate_exceeded(self.rates, ticket.owner, tokens, audio_s)
        if refusal is not None:
            raise refusal

    def _wait_s(self, ticket: Reservation) -> float:
        """When it would start, behind all of its kind that wait now."""
        ahead = sum(one is not ticket for one in self._pending(ticket.speaks))
        return self._times.retry_after_s(ticket.speaks, ahead, self._places(ticket.speaks, ticket.live))

    def _full_because(self, reason: Refusal, ticket: Reservation) -> ApiError:
        wait_s = self._wait_s(ticket)
        if reason == "not_in_real_time":
            return self._refusals.not_in_real_time(self._ledger.held.live, wait_s)
        return self._refusals.queue_full(self._turns(ticket.speaks), ticket.speaks, wait_s)


def _wake(ticket: Reservation) -> None:
    if ticket.slot is not None and not ticket.slot.done():
        ticket.slot.set_result(None)
