"""So much a minute and key: a bucket that holds a minute's worth and fills steadily.

In: amounts as they are used. Out: when there will be enough again. Pure: the clock is passed in.
Use is debited when it is known, so a bucket may go below nothing; it then takes longer to fill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_MINUTE_S = 60.0
_KEYS = 4_096


@dataclass(frozen=True, slots=True)
class _Bucket:
    """`level` as it was at `at_s`."""

    level: float
    at_s: float


class RateBuckets:
    """`per_minute` of one thing for each key; 0 is no limit. A key that is not known has a full bucket."""

    def __init__(self, per_minute: float, clock: Callable[[], float], keys: int = _KEYS) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._most = keys
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, key: str) -> float:
        """What the key may use now; below 0 where it has used more than there was."""
        bucket = self._buckets.get(key)
        return self.per_minute if bucket is None else self._level(bucket, self._clock())

    def wait_s(self, key: str, amount: float) -> float:
        """Until there is `amount`, or a full bucket where that is less; 0.0 where there is.

        Who wants nothing waits for nothing, however much was used.
        """
        if not self.per_minute or not amount:
            return 0.0
        short = min(amount, self.per_minute) - self.left(key)
        return max(short, 0.0) * _MINUTE_S / self.per_minute

    def full_in_s(self, key: str) -> float:
        return self.wait_s(key, self.per_minute)

    def take(self, key: str, amount: float) -> None:
        """`amount` was used; below 0, it was not after all."""
        if not self.per_minute or not amount:
            return
        self._buckets[key] = _Bucket(min(self.left(key) - amount, self.per_minute), self._clock())
        if len(self._buckets) > self._most:
            self._forget()

    def _forget(self) -> None:
        """Full buckets, which are as good as none; and where there is none, the fullest."""
        now_s = self._clock()
        levels = {key: self._level(bucket, now_s) for key, bucket in self._buckets.items()}
        full = [key for key, level in levels.items() if level >= self.per_minute]
        for key in full or [max(levels, key=levels.__getitem__)]:
            del self._buckets[key]

    def _level(self, bucket: _Bucket, now_s: float) -> float:
        filled = bucket.level + (now_s - bucket.at_s) * self.per_minute / _MINUTE_S
        return min(filled, self.per_minute)
