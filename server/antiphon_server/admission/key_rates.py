"""What one key may use a minute: tokens, as `usage` counts them, and seconds of sound, heard and spoken.

In: use, as it happens. Out: whether more may begin, and OpenAI's `x-ratelimit-*` headers. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.rate_limiter import RateBuckets


@dataclass(frozen=True, slots=True)
class Short:
    """What there is not enough of, and when there will be."""

    reason: Literal["token_rate", "audio_rate"]
    message: str
    wait_s: float


class KeyRates:
    """The buckets of all keys."""

    def __init__(self, capacity: Capacity, clock: Callable[[], float]) -> None:
        self.tokens = RateBuckets(capacity.tokens_per_minute, clock)
        self.audio = RateBuckets(capacity.audio_seconds_per_minute, clock)

    def short(self, key: str, tokens: float, audio_s: float) -> Short | None:
        """What a turn of `tokens` and `audio_s` must wait for: the bucket that is longer in filling."""
        tokens_s, audio_wait_s = self.tokens.wait_s(key, tokens), self.audio.wait_s(key, audio_s)
        if not tokens_s and not audio_wait_s:
            return None
        if tokens_s >= audio_wait_s:
            limit = f"{self.tokens.per_minute:g} tokens a minute"
            return Short("token_rate", f"this key has used its {limit}", tokens_s)
        limit = f"{self.audio.per_minute:g} seconds of sound a minute"
        return Short("audio_rate", f"this key has used its {limit}", audio_wait_s)

    def take(self, key: str, tokens: float = 0, audio_s: float = 0.0) -> None:
        """Used; below 0, given back."""
        self.tokens.take(key, tokens)
        self.audio.take(key, audio_s)

    def headers(self, key: str) -> dict[str, str]:
        """Nothing where nothing is limited."""
        named = (("tokens", self.tokens), ("audio-seconds", self.audio))
        found = {}
        for name, buckets in named:
            if buckets.per_minute:
                found[f"x-ratelimit-limit-{name}"] = f"{buckets.per_minute:g}"
                found[f"x-ratelimit-remaining-{name}"] = str(max(math.floor(buckets.left(key)), 0))
                found[f"x-ratelimit-reset-{name}"] = _duration(buckets.full_in_s(key))
        return found


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 1m2.5s, 320ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return (f"{int(minutes)}m" if minutes else "") + f"{round(rest, 1):g}s"
