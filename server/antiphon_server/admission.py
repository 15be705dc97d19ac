"""Who may come in: bounded places, shared fairly between keys, speech and text apart.

In: one `Ticket` a turn. Out: it is admitted, or refused at once (429) or after the queue's deadline (503).
It never promises more than there is; a full speech side never blocks a text-only turn, and a key that floods
the queue never another key.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from antiphon_executor.capacity import FrameTime
from antiphon_executor.protocol import PromptCounted
from antiphon_server.capacity import Capacity, Load, Price, Refusal
from antiphon_server.errors import Overloaded, RateExceeded, Unavailable
from antiphon_server.fair_queue import FairQueue, who_gives_way
from antiphon_server.key_rates import KeyRates
from antiphon_server.ledger import Ledger, whole_of
from antiphon_server.prefill_meter import PrefillMeter
from antiphon_server.pricing import TurnSize
from antiphon_server.ticket import Ticket
from antiphon_server.turn_times import TurnTimes, bounded_retry_s

# How soon a turn that waits for the Talker to become faster hears of it: nobody leaves meanwhile.
_LOOK_AGAIN_S = 0.25


class Admission:
    """The door. One event loop; no locks are needed, since nothing here awaits while it counts.

    `frame_time`: asked whenever a listener wants to start.
    """

    def __init__(
        self,
        capacity: Capacity,
        frame_time: Callable[[], FrameTime] = FrameTime,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.rates = KeyRates(capacity, clock)
        self._frame_time = frame_time
        self._clock = clock
        self._inside: dict[Ticket, None] = {}
        self._waiting: FairQueue[Ticket] = FairQueue()
        self._running: Counter[str] = Counter()
        self._ledger = Ledger(whole_of(capacity))
        self._prefill = PrefillMeter()
        self._times = TurnTimes()
        self._media_seconds = 0.0
        self._media_bytes = 0
        self._admitted: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._softened = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def ticket(self, *, speaks: bool, live: bool = True, choices: int = 1, owner: str = "") -> Ticket:
        """A place for one turn of `choices` texts; `speaks` asks for a stream too. Entering may refuse it.

        `live`: somebody listens while it speaks. `owner`: stands for the key that the request came with; the
        queue is shared fairly between owners.
        """
        return Ticket(self, speaks=speaks, live=live, choices=choices, owner=owner)

    def takes(self, *, speaks: bool, live: bool = True, owner: str = "") -> bool:
        """Whether such a ticket could enter now, and its key may still use sound."""
        if speaks and (not self.capacity.streams or self.rates.short(owner, 0, 1.0)):
            return False
        reason = self._full(speaks, live)
        return reason is None or self._gives_way(reason, speaks, owner) is not None

    def soften(self) -> None:
        """Counts a turn that takes text for an answer, since no speech could be promised."""
        self._softened += 1

    @property
    def load(self) -> Load:
        return Load(
            running=self._ledger.held,
            whole=self._ledger.whole,
            waiting_text=len(self._pending(False)),
            waiting_speech=len(self._pending(True)),
            queued_media_seconds=self._media_seconds,
            media_bytes=self._media_bytes,
            live_limit=self._live_limit(),
            frame_s=self._frame_s(),
            prompt_tokens=self._prefill.tokens,
            prefill_rate=self._prefill.rate,
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
        if ticket.speaks and not self.capacity.streams:
            raise self._unavailable("no_speech", "this server does not speak")
        self._check_rates(ticket, tokens=1, audio_s=1.0 if ticket.speaks else 0.0)
        reason = self._full(ticket.speaks, ticket.live)
        if reason is not None:
            victim = self._gives_way(reason, ticket.speaks, ticket.owner)
            if victim is None:
                raise self._overloaded(reason, self._full_because(reason, ticket), self._wait_s(ticket))
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
            raise self._overloaded("media_memory_full", message, self._wait_s(ticket))
        ticket.media_bytes += media_bytes
        self._media_bytes += media_bytes

    async def start(self, ticket: Ticket) -> None:
        if ticket.refusal:
            raise ticket.refusal
        self._check_media(ticket)
        self._check_prompt(ticket)
        self._check_rates(ticket, ticket.size.prompt_tokens, ticket.size.heard_seconds)
        self._count(ticket)
        ticket.slot = asyncio.get_running_loop().create_future()
        self._waiting.add(ticket)
        self._hand_out()
        try:
            async with asyncio.timeout(self.capacity.queue_s):
                while not ticket.slot.done():
                    await asyncio.wait((ticket.slot,), timeout=_LOOK_AGAIN_S if ticket.live else None)
                    self._hand_out()
        except TimeoutError:
            message = f"no slot came free within {self.capacity.queue_s:g} s"
            raise self._unavailable("queue_deadline", message, self._wait_s(ticket)) from None
        if ticket.refusal:
            raise ticket.refusal

    def prompt_read(self, ticket: Ticket, counted: PromptCounted) -> None:
        """Its first token is there. What was an estimate is known now."""
        if ticket.started_at is not None:
            computed = counted.total - counted.cached
            self._prefill.measured(ticket.started_at, self._clock(), computed)
        self._prefill.remove(ticket.unread_tokens)
        ticket.unread_tokens = 0
        self._debit(ticket, counted.total - ticket.size.prompt_tokens, 0.0)
        self._resize(ticket, replace(ticket.size, prompt_tokens=counted.total))

    def grown(self, ticket: Ticket, size: TurnSize, tokens: int, audio_s: float) -> None:
        """Its answer is longer by `tokens`, and by `audio_s` of speech."""
        self._debit(ticket, tokens, audio_s)
        self._resize(ticket, size)

    def text_ended(self, ticket: Ticket) -> None:
        if not ticket.text_is_complete:
            ticket.text_is_complete = True
            self._hold(ticket, ticket.held.spoken_part)
            self._hand_out()

    def leave(self, ticket: Ticket) -> None:
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
            self._times.took(ticket.speaks, self._clock() - ticket.started_at)
            self._running[ticket.owner] -= 1
            self._running += Counter()
        self._hold(ticket, Price())
        self._hand_out()

    def _next(self) -> Ticket | None:
        """Who starts now. Whatever else a start must be promised is to be asked here."""
        limit, live_limit = self.capacity.turns_per_key, self._live_limit()
        talker_is_full = False
        for ticket in self._waiting.in_order(self._running):
            if limit and self._running[ticket.owner] >= limit:
                continue
            if ticket.speaks:
                # Later ones that speak less must not keep it waiting for ever; texts may go by.
                talker_is_full = talker_is_full or not self._ledger.talker_fits(ticket.price)
                if talker_is_full or not self._keeps_pace(ticket, live_limit):
                    continue
            # The same where it writes: nobody at all goes by.
            return ticket if self._ledger.thinker_fits(ticket.price) else None
        return None

    def _keeps_pace(self, ticket: Ticket, live_limit: int | None) -> bool:
        """Whether the Talker keeps real time with it too. Where nobody listens, it takes what is left."""
        return not ticket.live or live_limit is None or self._ledger.held.live < live_limit

    def _live_limit(self) -> int | None:
        """None: as many as there are streams. One is never refused for a Talker that is too slow for it."""
        limit = self._frame_time().live_streams if self.capacity.real_time else None
        return None if limit is None else max(limit, 1)

    def _frame_s(self) -> float:
        """What the Talker's steps take with the streams that there are."""
        step_s, streams = self._frame_time().step_s, self._ledger.held.streams
        return step_s[min(streams, len(step_s)) - 1] if streams and step_s else 0.0

    def _hand_out(self) -> None:
        """Give free slots out, one at a time: each start changes who is next."""
        while (ticket := self._next()) is not None:
            self._stop_waiting(ticket)
            self._waiting.started(ticket)
            self._running[ticket.owner] += 1
            self._admitted["speech" if ticket.speaks else "text"] += 1
            self._hold(ticket, ticket.price)
            ticket.started_at = self._clock()
            if ticket.slot is not None and not ticket.slot.done():
                ticket.slot.set_result(None)

    def _hold(self, ticket: Ticket, price: Price) -> None:
        self._ledger.change(ticket.held, price)
        ticket.held = price

    def _resize(self, ticket: Ticket, size: TurnSize) -> None:
        """What it holds follows; nobody is waiting for less, so that nothing is handed out."""
        ticket.resize(size)
        if ticket.started_at is not None:
            self._hold(ticket, ticket.price.spoken_part if ticket.text_is_complete else ticket.price)

    def _debit(self, ticket: Ticket, tokens: int, audio_s: float) -> None:
        self.rates.take(ticket.owner, tokens, audio_s)
        debited_tokens, debited_s = ticket.debited
        ticket.debited = debited_tokens + tokens, debited_s + audio_s

    def _count(self, ticket: Ticket) -> None:
        """It waits, with its media and its prompt."""
        size = ticket.size
        ticket.media_seconds, ticket.unread_tokens = size.media_seconds, size.prompt_tokens
        self._media_seconds += size.media_seconds
        self._prefill.add(size.prompt_tokens)
        self._debit(ticket, size.prompt_tokens, size.heard_seconds)

    def _stop_waiting(self, ticket: Ticket) -> None:
        self._waiting.discard(ticket)
        self._media_seconds -= ticket.media_seconds
        ticket.media_seconds = 0.0

    def _take_back(self, ticket: Ticket) -> None:
        """All of a turn that never started. More than once is as good as once."""
        self._stop_waiting(ticket)
        self._prefill.remove(ticket.unread_tokens)
        ticket.unread_tokens = 0
        tokens, audio_s = ticket.debited
        self._debit(ticket, -tokens, -audio_s)

    def _places(self, speaks: bool, live: bool) -> int:
        if not speaks:
            return self.capacity.sequences
        limit = self._live_limit() if live else None
        return self.capacity.streams if limit is None else min(limit, self.capacity.streams)

    def _turns(self, speaks: bool) -> int:
        return sum(ticket.speaks == speaks for ticket in self._inside)

    def _pending(self, speaks: bool) -> list[Ticket]:
        """Inside and not started, in the order of arrival."""
        return [ticket for ticket in self._inside if ticket.started_at is None and ticket.speaks == speaks]

    def _full(self, speaks: bool, live: bool) -> Refusal | None:
        """Why no other such turn can come in, unless one gives way for it."""
        places = self.capacity.streams if speaks else self.capacity.sequences
        if self._turns(speaks) >= places + self.capacity.queued_turns:
            return "queue_full"
        return "not_in_real_time" if speaks and live and self._is_too_slow() else None

    def _is_too_slow(self) -> bool:
        """Whether one more listener would wait past the deadline for the others to be done."""
        limit = self._live_limit()
        if limit is None or limit >= self.capacity.streams:
            return False
        pending = sum(ticket.live for ticket in self._pending(True))
        ahead = self._ledger.held.live + pending - limit
        return ahead >= 0 and self._times.start_in_s(True, ahead, limit) > self.capacity.queue_s

    def _gives_way(self, reason: Refusal, speaks: bool, owner: str) -> Ticket | None:
        pool = [one for one in self._pending(speaks) if one.live or reason != "not_in_real_time"]
        return who_gives_way(pool, owner)

    def _displace(self, victim: Ticket) -> None:
        """Its place in the queue goes to a key that has fewer; no engine has begun on it."""
        message = "the place in the queue went to another key, which had fewer turns waiting"
        victim.refusal = self._overloaded("displaced", message, self._wait_s(victim))
        del self._inside[victim]
        self._take_back(victim)
        if victim.slot is not None and not victim.slot.done():
            victim.slot.set_result(None)

    def _check_media(self, ticket: Ticket) -> None:
        limit, waiting = self.capacity.queued_media_seconds, self._media_seconds
        # A turn that would wait for nobody is not refused for its length: the media policy bounds that.
        if waiting and waiting + ticket.size.media_seconds > limit:
            message = f"{waiting:.0f} s of audio and video are waiting; the limit is {limit:.0f} s"
            raise self._overloaded("media_queue_full", message, self._wait_s(ticket))

    def _check_prompt(self, ticket: Ticket) -> None:
        capacity, prompt = self.capacity, ticket.size.prompt_tokens
        over_s = self._prefill.over_s(prompt, capacity.prefill_s, capacity.queued_prompt_tokens)
        if over_s != 0.0:
            message = f"{self._prefill.tokens} prompt tokens of other turns are not read yet"
            wait_s = self._wait_s(ticket) if over_s is None else bounded_retry_s(over_s)
            raise self._overloaded("prefill_queue_full", message, wait_s)

    def _check_rates(self, ticket: Ticket, tokens: int, audio_s: float) -> None:
        short = self.rates.short(ticket.owner, tokens, audio_s)
        if short is not None:
            self._refused[short.reason] += 1
            headers = self.rates.headers(ticket.owner)
            raise RateExceeded(short.message, retry_after_s=short.wait_s, headers=headers)

    def _wait_s(self, ticket: Ticket) -> float:
        """When it would start, behind all of its kind that wait now."""
        ahead = sum(one is not ticket for one in self._pending(ticket.speaks))
        return self._times.retry_after_s(ticket.speaks, ahead, self._places(ticket.speaks, ticket.live))

    def _full_because(self, reason: Refusal, ticket: Ticket) -> str:
        if reason == "not_in_real_time":
            return f"speech for {self._ledger.held.live} listeners is made just now, and more would stutter"
        kind = "spoken" if ticket.speaks else "text"
        turns = self._turns(ticket.speaks)
        return f"{turns} {kind} turns are running or waiting, which is all this server takes"

    def _overloaded(self, reason: Refusal, message: str, retry_after_s: float) -> Overloaded:
        self._refused[reason] += 1
        return Overloaded(message, code=reason, retry_after_s=retry_after_s)

    def _unavailable(self, reason: Refusal, message: str, retry_after_s: float | None = None) -> Unavailable:
        self._refused[reason] += 1
        return Unavailable(message, code=reason, retry_after_s=retry_after_s)
