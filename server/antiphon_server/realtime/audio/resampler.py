"""Resampler of one stream by a ratio of small integers: a windowed-sinc filter that keeps its state."""

from __future__ import annotations

from functools import cache
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Zero crossings of the sinc on each side, at the lower of the two rates.
_CROSSINGS = 12
_KAISER_BETA = 8.0
# Of the lower rate's half: the filter falls off between here and there.
_CUTOFF = 0.94
# Samples at a time: each result has a window of its own in memory.
_BLOCK = 8_192


class Resampler:
    """Samples in pieces; the pieces' results, joined, are those of the whole, delayed by half the filter."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._bank = _filter_bank(self._up, self._down)
        self._taps = self._bank.shape[1]
        self._history = np.zeros(self._taps - 1, np.float32)
        # The next output, counted in 1 / (up * from_hz), from the first sample that is not in the history.
        self._next = 0

    def resample(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        if self._up == self._down:
            return samples
        if len(samples) <= _BLOCK:
            return self._resample_block(samples)
        blocks = range(0, len(samples), _BLOCK)
        return np.concatenate([self._resample_block(samples[at : at + _BLOCK]) for at in blocks])

    def _resample_block(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        data = np.concatenate((self._history, samples.astype(np.float32)))
        places = np.arange(self._next, len(samples) * self._up, self._down)
        self._history = data[len(data) - (self._taps - 1) :]
        self._next = self._next + len(places) * self._down - len(samples) * self._up
        if not len(places):
            return np.zeros(0, np.int16)
        windows = sliding_window_view(data, self._taps)[places // self._up]
        out = np.einsum("nt,nt->n", windows, self._bank[places % self._up])
        return np.clip(np.rint(out), -32_768, 32_767).astype(np.int16)


@cache
def _filter_bank(up: int, down: int) -> NDArray[np.float32]:
    """One filter for each phase, the newest sample last."""
    widest = max(up, down)
    taps = 2 * -(-_CROSSINGS * widest // up)
    length = taps * up
    time = (np.arange(length) - (length - 1) / 2) / widest
    prototype = np.sinc(time * _CUTOFF) * np.kaiser(length, _KAISER_BETA)
    bank = prototype.reshape(taps, up).T
    bank = bank / bank.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(bank[:, ::-1], dtype=np.float32)
