"""Measured values → percentiles that promise no more than the number of samples allows.

In: values. Out: nearest-rank percentiles: each is a value that was measured, none is interpolated. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import msgspec

RANKS = (50, 90, 95, 99)


class Distribution(msgspec.Struct, frozen=True):
    """`n` samples. A percentile that so few samples cannot tell from the worst one is the worst one."""

    n: int
    mean: float
    best: float
    p50: float
    p90: float
    p95: float
    p99: float
    worst: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Small values are good ones. None of no values."""
        ordered = sorted(values)
        if not ordered:
            return None
        p50, p90, p95, p99 = (ordered[rank_of(rank, len(ordered)) - 1] for rank in RANKS)
        mean = math.fsum(ordered) / len(ordered)
        return cls(len(ordered), mean, ordered[0], p50, p90, p95, p99, ordered[-1])

    @classmethod
    def of_rests(cls, values: Iterable[float]) -> Self | None:
        """Large values are good ones: p99 is what 99 % of the samples have at least."""
        t = cls.of(-value for value in values)
        if t is None:
            return None
        return cls(t.n, -t.mean, -t.best, -t.p50, -t.p90, -t.p95, -t.p99, -t.worst)

    def is_the_worst(self, rank: int) -> bool:
        """Whether the percentile is no more than the worst sample, for want of samples."""
        return rank_of(rank, self.n) == self.n


def rank_of(rank: int, n: int) -> int:
    """The nearest rank, from 1: the smallest sample that `rank` % of `n` are not above."""
    return max(1, -(-rank * n // 100))
