"""The accounts of all reservations: resources, rate limits of keys, media, and prompts that are not read yet.

Each amount that is added to an account stands in the reservation too, so that exactly it is released.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from antiphon_executor.interface.events import FRAMES_PER_SECOND, PromptCounted, PromptProgress
from antiphon_server.admission.capacity import Capacity, KeyClasses, OneClass
from antiphon_server.admission.class_usage import ClassUsage
from antiphon_server.admission.cost_model import RequestSize, estimate_cost
from antiphon_server.admission.estimators import PrefillBacklog
from antiphon_server.admission.rate_limiter import RateLimiter
from antiphon_server.admission.reservation import Reservation
from antiphon_server.admission.resources import Resources, ResourceTracker


class Accounts:
    """It starts and refuses nothing. `media_seconds`: of waiting requests. `media_bytes`: of all requests."""

    def __init__(
        self, capacity: Capacity, clock: Callable[[], float], classes: KeyClasses | None = None
    ) -> None:
        self.resources = ResourceTracker(capacity)
        self.rates = RateLimiter(capacity, clock, classes)
        self.usage = ClassUsage(classes or OneClass())
        self.prefill = PrefillBacklog()
        self.media_seconds = 0.0
        self.media_bytes = 0
        self._capacity = capacity
        self._clock = clock

    def add_media(self, reservation: Reservation, media_bytes: int) -> None:
        reservation.media_bytes += media_bytes
        self.media_bytes += media_bytes

    def add_queued(self, reservation: Reservation) -> None:
        """It waits, with its media and its prompt, and its key pays for both."""
        size = reservation.size
        reservation.media_seconds = size.media_seconds
        self.media_seconds += size.media_seconds
        self._set_unread(reservation, size.prompt_tokens)
        if reservation.part_of is None:
            self.charge(reservation, size.prompt_tokens, size.heard_seconds)

    def charge(self, reservation: Reservation, tokens: int, audio_s: float) -> None:
        """Its key pays. It is refunded if neither the request nor a part of it starts."""
        reservation.debited_tokens, reservation.debited_audio_s = tokens, audio_s
        self.rates.debit(reservation.owner, tokens, audio_s)

    def undo_queued(self, reservation: Reservation) -> None:
        """Undo `add_queued` for a request that will not start. Idempotent."""
        self.end_wait(reservation)
        self.end_prefill(reservation)
        self.rates.debit(reservation.owner, -reservation.debited_tokens, -reservation.debited_audio_s)
        reservation.debited_tokens, reservation.debited_audio_s = 0, 0.0

    def end_wait(self, reservation: Reservation) -> None:
        """Its media wait no longer."""
        self.media_seconds -= reservation.media_seconds
        reservation.media_seconds = 0.0

    def end_prefill(self, reservation: Reservation) -> None:
        """Its prompt has been read, or will not be."""
        self._set_unread(reservation, 0)

    def start(self, reservation: Reservation) -> None:
        """From now on it holds what it is estimated to need."""
        self.end_wait(reservation)
        reservation.started_at = self._clock()
        if not reservation.is_unpaid:
            reservation.usage = self.usage.of(reservation.owner)
        reservation.usage.requests += 1
        reservation.usage.audio_s += reservation.size.heard_seconds
        if reservation.part_of is not None:
            reservation.part_of.debited_tokens, reservation.part_of.debited_audio_s = 0, 0.0
        self._set_held(reservation, reservation.estimate.resources)

    def release(self, reservation: Reservation) -> None:
        """It has ended: return all that it has. What its key has used of its rate limits stays used."""
        self.media_bytes -= reservation.media_bytes
        reservation.media_bytes = 0
        self.end_prefill(reservation)
        self._set_held(reservation, Resources())

    def set_size(self, reservation: Reservation, size: RequestSize) -> None:
        reservation.size = size
        self.update_estimate(reservation)

    def correct_size(self, reservation: Reservation, size: RequestSize) -> None:
        """It runs, and its size is known better than when it began to wait. Its key pays the difference."""
        before = reservation.size
        more_tokens, more_s = (
            size.prompt_tokens - before.prompt_tokens,
            size.heard_seconds - before.heard_seconds,
        )
        self.rates.debit(reservation.owner, more_tokens, more_s)
        self._set_unread(reservation, size.prompt_tokens)
        self.set_size(reservation, size)

    def count_prompt(self, reservation: Reservation, counted: PromptCounted) -> None:
        """The prompt has been read, and its size is known."""
        if reservation.started_at is not None:
            computed = counted.total - counted.cached
            self.prefill.observe(reservation.started_at, self._clock(), computed)
        self.end_prefill(reservation)
        reservation.usage.tokens += counted.total
        if not reservation.is_unpaid:
            self.rates.tokens.debit(reservation.owner, counted.total - reservation.size.prompt_tokens)
        self.set_size(reservation, replace(reservation.size, prompt_tokens=counted.total))

    def count_progress(self, reservation: Reservation, progress: PromptProgress) -> None:
        """A part of the prompt has been read."""
        if reservation.unread_tokens:
            left = max(progress.total - progress.tokens, 0)
            self._set_unread(reservation, min(left, reservation.unread_tokens))

    def count_text(self, reservation: Reservation, tokens: int) -> None:
        """The answer's text is longer by `tokens`."""
        self.rates.tokens.debit(reservation.owner, tokens)
        reservation.usage.tokens += tokens
        reservation.tokens += tokens
        if reservation.tokens > reservation.estimate.max_tokens:
            self.update_estimate(reservation)

    def count_speech(self, reservation: Reservation, frames: int) -> None:
        """The answer's speech is longer by `frames` of 80 ms; each counts as one token."""
        seconds = frames / FRAMES_PER_SECOND
        self.rates.tokens.debit(reservation.owner, frames)
        self.rates.audio.debit(reservation.owner, seconds)
        reservation.usage.tokens += frames
        reservation.usage.audio_s += seconds
        reservation.frames += frames
        if reservation.frames > reservation.estimate.max_frames:
            self.update_estimate(reservation)

    def end_text(self, reservation: Reservation) -> None:
        """The answer's text is complete, or there is none: its sequences and KV blocks are free."""
        self.end_prefill(reservation)
        reservation.text_is_complete = True
        self._set_held(reservation, reservation.held.speech_part)

    def update_estimate(self, reservation: Reservation) -> None:
        """Estimate its cost again. If it runs, it holds that from now on."""
        reservation.estimate = estimate_cost(
            reservation.size, reservation.speech, self._capacity, reservation.tokens, reservation.frames
        )
        if reservation.started_at is not None:
            resources = reservation.estimate.resources
            self._set_held(reservation, resources.speech_part if reservation.text_is_complete else resources)

    def _set_unread(self, reservation: Reservation, tokens: int) -> None:
        self.prefill.change(reservation, reservation.unread_tokens, tokens)
        reservation.unread_tokens = tokens

    def _set_held(self, reservation: Reservation, resources: Resources) -> None:
        self.resources.replace(reservation.held, resources)
        reservation.held = resources
