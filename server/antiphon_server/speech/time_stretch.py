"""Changes the speed of speech without its pitch, as it streams: waveform-similarity overlap-add (WSOLA).

Windows of the input are taken at `speed` times the distance at which they are added to the output; each is
moved by up to 10 ms to where it continues the one before it best.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_HOP = 360
_WINDOW = 2 * _HOP
_REACH = 240
# Half a cosine: a window's second half and the next one's first half add up to 1.
_RISING = ((1 - np.cos(np.pi * np.arange(_HOP) / _HOP)) / 2).astype(np.float32)
_SILENCE = 1.0


class TimeStretcher:
    """One stream of speech (s16le, mono, 24 kHz). The output is the input's length divided by `speed`."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        # Of the input, from a window's own place: what it may reach, and what its output stands for.
        self._ahead = max(_REACH + _WINDOW, math.ceil(_HOP * speed))
        self._input = np.zeros(0, np.float32)
        # Samples of the input before `_input`, and of the output before the next window.
        self._dropped = 0
        self._received = 0
        self._written = 0
        # What the last window leaves to be added to the next: falling, and how the input goes on there.
        self._tail: NDArray[np.float32] | None = None
        self._next = np.zeros(0, np.float32)

    def stretch(self, pcm: bytes) -> bytes:
        """More of the input; the output that is complete."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        self._received += len(samples)
        self._input = np.concatenate((self._input, samples))
        return self._take_windows(len(self._input))

    def finish(self) -> bytes:
        """The rest of the output; no input may follow."""
        length = round(self._received / self._speed)
        self._input = np.concatenate((self._input, np.zeros(_WINDOW + 2 * _REACH, np.float32)))
        written = self._written
        rest = bytearray()
        while self._written < length:
            piece = self._take_windows(len(self._input))
            if not piece:
                self._input = np.concatenate((self._input, np.zeros(_WINDOW, np.float32)))
            rest += piece
        return bytes(rest[: 2 * (length - written)])

    def _take_windows(self, available: int) -> bytes:
        """All windows within the first `available` samples that are held, wherever they are moved."""
        pieces = []
        while (target := round(self._written * self._speed) - self._dropped) + self._ahead <= available:
            at = target if self._tail is None else self._best_place(target)
            pieces.append(self._add_window(self._input[at : at + _WINDOW]))
            kept = max(round(self._written * self._speed) - self._dropped - _REACH, 0)
            self._input, available = self._input[kept:], available - kept
            self._dropped += kept
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return np.clip(np.round(samples), -32_768, 32_767).astype("<i2").tobytes()

    def _add_window(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output up to the middle of the window."""
        first, second = window[:_HOP], window[_HOP:]
        # Nothing comes before the first window, so it does not rise.
        out = first if self._tail is None else self._tail + first * _RISING
        self._tail = second * _RISING[::-1]
        self._next = second
        self._written += _HOP
        return out

    def _best_place(self, target: int) -> int:
        """Where, near `target`, the input is most like what would follow the last window."""
        begin = max(target - _REACH, 0)
        region = self._input[begin : target + _REACH + _HOP]
        likeness = np.correlate(region, self._next, "valid")
        energies = np.cumsum(np.concatenate((np.zeros(1), np.square(region, dtype=np.float64))))
        energy = energies[_HOP:] - energies[:-_HOP]
        return begin + int(np.argmax(likeness / np.sqrt(energy + _SILENCE)))
