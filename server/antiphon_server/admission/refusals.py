"""Refusals of the admission controller: the error for each reason, with `Retry-After`, and their counts."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from antiphon_server.admission.rate_limiter import RateLimiter
from antiphon_server.errors import ApiError, Overloaded, RateExceeded, Unavailable

# Also the `code` of the error, except for the last two: their code is OpenAI's `rate_limit_exceeded`.
RefusalReason = Literal[
    "queue_full",
    "displaced",
    "queue_deadline",
    "key_concurrency",
    "not_in_real_time",
    "prefill_queue_full",
    "media_memory_full",
    "media_queue_full",
    "no_speech",
    "token_rate",
    "audio_rate",
]


class Refusals:
    """Makes the errors; it decides nothing. `counts`: by reason, since the start of the server."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def _overloaded(self, reason: RefusalReason, message: str, retry_after_s: float) -> Overloaded:
        self.counts[reason] += 1
        return Overloaded(message, code=reason, retry_after_s=retry_after_s)

    def queue_full(self, kind: str, requests: int, retry_after_s: float) -> ApiError:
        message = f"the queue is full: {requests} {kind} requests are running or waiting"
        return self._overloaded("queue_full", message, retry_after_s)

    def not_in_real_time(self, live: int, retry_after_s: float) -> ApiError:
        message = f"the server is at its real-time limit: {live} live streams"
        return self._overloaded("not_in_real_time", message, retry_after_s)

    def displaced(self, retry_after_s: float) -> ApiError:
        message = (
            "evicted from the full queue by a request of another API key, which has fewer requests waiting"
        )
        return self._overloaded("displaced", message, retry_after_s)

    def media_memory_full(self, held_bytes: int, limit_bytes: int, retry_after_s: float) -> ApiError:
        held, limit = held_bytes >> 20, limit_bytes >> 20
        message = f"the media of other requests use {held} MiB of memory; the limit is {limit} MiB"
        return self._overloaded("media_memory_full", message, retry_after_s)

    def media_queue_full(self, waiting_s: float, limit_s: float, retry_after_s: float) -> ApiError:
        message = f"{waiting_s:.0f} s of audio and video are queued; the limit is {limit_s:.0f} s"
        return self._overloaded("media_queue_full", message, retry_after_s)

    def prefill_queue_full(self, tokens: int, retry_after_s: float) -> ApiError:
        message = f"{tokens} prompt tokens of other requests are still to be processed"
        return self._overloaded("prefill_queue_full", message, retry_after_s)

    def key_concurrency(self, running: int, limit: int, retry_after_s: float) -> ApiError:
        message = f"{running} requests of this API key are running; the limit is {limit}"
        return self._overloaded("key_concurrency", message, retry_after_s)

    def rate_exceeded(self, rates: RateLimiter, owner: str, tokens: float, audio_s: float) -> ApiError | None:
        """None if the key may use this much now."""
        shortage = rates.shortage(owner, tokens, audio_s)
        if shortage is None:
            return None
        self.counts[shortage.reason] += 1
        return RateExceeded(shortage.message, retry_after_s=shortage.wait_s, headers=rates.headers(owner))

    def no_speech(self) -> ApiError:
        self.counts["no_speech"] += 1
        return Unavailable("this server has no speech output", code="no_speech")

    def queue_deadline(self, limit_s: float, retry_after_s: float) -> ApiError:
        self.counts["queue_deadline"] += 1
        message = f"no slot became free within {limit_s:g} s"
        return Unavailable(message, code="queue_deadline", retry_after_s=retry_after_s)
