"""Rate limits of each API key: tokens per minute, as `usage` counts them, and audio seconds per minute.

Use is debited when it is known, so a level may be negative; the bucket then takes longer to refill.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from antiphon_server.admission.capacity import Capacity, KeyClasses

_MINUTE_S = 60.0
_KEYS = 4_096


class TokenBuckets:
    """A bucket for each key: a minute's amount of one quantity, which refills in a minute; 0: no limit.

    `per_minute`: of all keys but those for which `own` returns another amount. At most `keys` buckets are
    kept. A key without a bucket has a full one.
    """

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float],
        keys: int = _KEYS,
        own: Callable[[str], float | None] | None = None,
    ) -> None:
        self._of_all = per_minute
        self._own = own
        self._clock = clock
        self._max_keys = keys
        # The level of each key, and when it was that.
        self._levels: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._levels)

    def per_minute(self, key: str) -> float:
        """The key's limit; 0: it has none."""
        own = self._own(key) if self._own else None
        return self._of_all if own is None else own

    def remaining(self, key: str) -> float:
        """What the key may use now; negative if it has used more than it had."""
        return self._level(key, self.per_minute(key))

    def _level(self, key: str, per_minute: float) -> float:
        level, at_s = self._levels.get(key, (per_minute, 0.0))
        return min(level + (self._clock() - at_s) * per_minute / _MINUTE_S, per_minute)

    def wait_s(self, key: str, amount: float) -> float:
        """Seconds until `amount` is there, or a full bucket if `amount` is more; 0.0 if it is there now.

        An amount of 0 never waits, whatever the level.
        """
        per_minute = self.per_minute(key)
        if not per_minute or not amount:
            return 0.0
        missing = min(amount, per_minute) - self.remaining(key)
        return max(missing, 0.0) * _MINUTE_S / per_minute

    def full_in_s(self, key: str) -> float:
        """Seconds until the bucket is full."""
        return self.wait_s(key, self.per_minute(key))

    def debit(self, key: str, amount: float) -> None:
        """`amount` was used; a negative amount is a refund. Called for every token, so it calls little."""
        per_minute = self.per_minute(key) if self._own else self._of_all
        if not per_minute or not amount:
            return
        self._levels[key] = min(self._level(key, per_minute) - amount, per_minute), self._clock()
        if len(self._levels) > self._max_keys:
            self._forget_full()

    def _forget_full(self) -> None:
        """Drop full buckets, which are equal to none; if no bucket is full, the fullest."""
        levels = {key: self.remaining(key) for key in self._levels}
        full = [key for key, level in levels.items() if level >= self.per_minute(key)]
        for key in full or [max(levels, key=levels.__getitem__)]:
            del self._levels[key]


@dataclass(frozen=True, slots=True)
class RateShortage:
    """Which limit a key has reached, and in how many seconds it may go on."""

    reason: Literal["token_rate", "audio_rate"]
    message: str
    wait_s: float


class RateLimiter:
    """Debits of all keys. Audio counts heard and spoken. `classes`: keys with limits of their own."""

    def __init__(
        self, capacity: Capacity, clock: Callable[[], float], classes: KeyClasses | None = None
    ) -> None:
        tokens = audio = None
        if classes is not None:
            tokens = partial(_own_limit, classes, "tokens_per_minute")
            audio = partial(_own_limit, classes, "audio_seconds_per_minute")
        self.tokens = TokenBuckets(capacity.tokens_per_minute, clock, own=tokens)
        self.audio = TokenBuckets(capacity.audio_seconds_per_minute, clock, own=audio)

    def shortage(self, key: str, tokens: float, audio_s: float) -> RateShortage | None:
        """The limit that a request for `tokens` and `audio_s` has to wait for longest; None if for none."""
        tokens_s, audio_wait_s = self.tokens.wait_s(key, tokens), self.audio.wait_s(key, audio_s)
        if not tokens_s and not audio_wait_s:
            return None
        if tokens_s >= audio_wait_s:
            limit = f"{self.tokens.per_minute(key):g} tokens per minute"
            return RateShortage("token_rate", f"this API key has reached its limit of {limit}", tokens_s)
        limit = f"{self.audio.per_minute(key):g} seconds of audio per minute"
        return RateShortage("audio_rate", f"this API key has reached its limit of {limit}", audio_wait_s)

    def debit(self, key: str, tokens: float = 0, audio_s: float = 0.0) -> None:
        """The key has used this much; negative amounts are refunds."""
        self.tokens.debit(key, tokens)
        self.audio.debit(key, audio_s)

    def headers(self, key: str) -> dict[str, str]:
        """OpenAI's `x-ratelimit-*` headers; none for what has no limit."""
        named = (("tokens", self.tokens), ("audio-seconds", self.audio))
        found = {}
        for name, buckets in named:
            if per_minute := buckets.per_minute(key):
                found[f"x-ratelimit-limit-{name}"] = f"{per_minute:g}"
                found[f"x-ratelimit-remaining-{name}"] = str(max(math.floor(buckets.remaining(key)), 0))
                found[f"x-ratelimit-reset-{name}"] = _duration(buckets.full_in_s(key))
        return found


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 1m2.5s, 320ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return (f"{int(minutes)}m" if minutes else "") + f"{round(rest, 1):g}s"


def _own_limit(
    classes: KeyClasses, quantity: Literal["tokens_per_minute", "audio_seconds_per_minute"], key: str
) -> float | None:
    limit: float | None = getattr(classes.limits_of(key), quantity)
    return limit
