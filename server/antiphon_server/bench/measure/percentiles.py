"""Nearest-rank percentiles of measured values.

Each percentile is a value that was measured; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import msgspec

RANKS = (50, 90, 95, 99)


class Distribution(msgspec.Struct, frozen=True):
    """Percentiles of `n` samples. With few samples the higher percentiles equal the worst sample."""

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
        """Distribution of values of which the smallest is the best; None if there are no values."""
        ordered = sorted(values)
        if not ordered:
            return None
        p50, p90, p95, p99 = (ordered[rank_of(rank, len(ordered)) - 1] for rank in RANKS)
        mean = math.fsum(ordered) / len(ordered)
        return cls(len(ordered), mean, ordered[0], p50, p90, p95, p99, ordered[-1])

    @classmethod
    def of_margins(cls, values: Iterable[float]) -> Self | None:
        """Distribution of values of which the largest is the best: 99 % of the samples are at least p99."""
        t = cls.of(-value for value in values)
        if t is None:
            return None
        return cls(t.n, -t.mean, -t.best, -t.p50, -t.p90, -t.p95, -t.p99, -t.worst)

    def is_worst_sample(self, rank: int) -> bool:
        """Whether this percentile equals the worst sample because there are too few samples."""
        return rank_of(rank, self.n) == self.n


def rank_of(rank: int, n: int) -> int:
    """The nearest rank, from 1: at least `rank` % of `n` sorted samples have this rank or a lower one."""
    return max(1, -(-rank * n // 100))
