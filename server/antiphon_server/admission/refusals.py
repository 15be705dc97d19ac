"""The refusals of the admission controller: counted by reason, each with its words and its time to come back.

In: why a request cannot come in or start. Out: the error to raise. It decides nothing.
"""

from __future__ import annotations

from collections import Counter

from antiphon_server.admission.capacity import Refusal
from antiphon_server.admission.key_rates import KeyRates
from antiphon_server.errors import ApiError, Overloaded, RateExceeded, Unavailable


class Refusals:
    """One a server. `counts`: by reason, since the start."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def overloaded(self, reason: Refusal, message: str, retry_after_s: float) -> Overloaded:
        self.counts[reason] += 1
        return Overloaded(message, code=reason, retry_after_s=retry_after_s)

    def queue_full(self, requests: int, speaks: bool, retry_after_s: float) -> ApiError:
        kind = "spoken" if speaks else "text"
        message = f"{requests} {kind} requests are running or waiting, and the server takes no more of them"
        return self.overloaded("queue_full", message, retry_after_s)

    def not_in_real_time(self, live: int, retry_after_s: float) -> ApiError:
        message = f"the server is at its real-time limit: {live} live streams"
        return self.overloaded("not_in_real_time", message, retry_after_s)

    def displaced(self, retry_after_s: float) -> ApiError:
        message = "the place in the queue went to another key, which had fewer requests waiting"
        return self.overloaded("displaced", message, retry_after_s)

    def media_memory_full(self, held_bytes: int, limit_bytes: int, retry_after_s: float) -> ApiError:
        held, limit = held_bytes >> 20, limit_bytes >> 20
        message = f"the media of other requests take {held} MiB of memory; the limit is {limit} MiB"
        return self.overloaded("media_memory_full", message, retry_after_s)

    def media_queue_full(self, waiting_s: float, limit_s: float, retry_after_s: float) -> ApiError:
        message = f"{waiting_s:.0f} s of audio and video are waiting; the limit is {limit_s:.0f} s"
        return self.overloaded("media_queue_full", message, retry_after_s)

    def prefill_queue_full(self, tokens: int, retry_after_s: float) -> ApiError:
        message = f"{tokens} prompt tokens of other requests are not read yet"
        return self.overloaded("prefill_queue_full", message, retry_after_s)

    def key_concurrency(self, running: int, limit: int, retry_after_s: float) -> ApiError:
        message = f"{running} requests of this key are running; the limit is {limit} for each key"
        return self.overloaded("key_concurrency", message, retry_after_s)

    def rate_exceeded(self, rates: KeyRates, owner: str, tokens: float, audio_s: float) -> ApiError | None:
        """None where the key may use as much now."""
        short = rates.short(owner, tokens, audio_s)
        if short is None:
            return None
        self.counts[short.reason] += 1
        return RateExceeded(short.message, retry_after_s=short.wait_s, headers=rates.headers(owner))

    def no_speech(self) -> ApiError:
        self.counts["no_speech"] += 1
        return Unavailable("this server does not speak", code="no_speech")

    def queue_deadline(self, limit_s: float, retry_after_s: float) -> ApiError:
        self.counts["queue_deadline"] += 1
        message = f"no slot came free within {limit_s:g} s"
        return Unavailable(message, code="queue_deadline", retry_after_s=retry_after_s)
