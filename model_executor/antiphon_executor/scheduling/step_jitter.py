"""Jitter of the Talker's steps: how much longer than the mean of its batch size a step took, by percentile.

Covers the last 4,096 steps, which are one to five minutes of speech.
"""

from __future__ import annotations

from collections import deque

_BIN_S = 0.001
_BINS = 256
_BLOCK_STEPS = 256
_BLOCKS = 16
# With fewer steps a high percentile is that of a start, when kernels are compiled and memory is allocated.
_FEWEST = 200


class StepJitter:
    """A histogram in bins of 1 ms over a sliding window, in blocks of 256 steps."""

    def __init__(self) -> None:
        self._counts = [0] * _BINS
        self._steps = 0
        self._blocks: deque[list[int]] = deque([[]])

    def add(self, excess_s: float) -> None:
        """A step took `excess_s` longer than steps of its size usually do; less than that counts as 0."""
        if len(self._blocks[-1]) == _BLOCK_STEPS:
            self._blocks.append([])
            if len(self._blocks) > _BLOCKS:
                self._forget(self._blocks.popleft())
        bin_number = min(max(int(excess_s / _BIN_S), 0), _BINS - 1)
        self._blocks[-1].append(bin_number)
        self._counts[bin_number] += 1
        self._steps += 1

    def percentile_s(self, share: float) -> float:
        """The jitter that only `1 - share` of the steps exceed; 0.0 before there are enough steps."""
        if self._steps < _FEWEST:
            return 0.0
        above = (1.0 - share) * self._steps
        seen = 0
        for number in range(_BINS - 1, 0, -1):
            seen += self._counts[number]
            if seen > above:
                return (number + 1) * _BIN_S
        return 0.0

    def _forget(self, block: list[int]) -> None:
        for number in block:
            self._counts[number] -= 1
        self._steps -= len(block)
