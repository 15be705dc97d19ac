"""The two edges of a stream's sound: a fade-in of 2 ms where it begins, a fade-out where it is cut.

In and out: s16le at 24 kHz. A vocoder begins on padding, which no code sounds like: its first 0.5 ms are a
click, in the one-shot decode too. All samples behind the fade-in are the vocoder's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FADE_IN_SAMPLES = 48
FADE_OUT_SAMPLES = 960


def faded_in(pcm: bytes) -> bytes:
    """The first sound of a stream; shorter sound fades as far as it lasts."""
    return _scaled(pcm, slice(0, FADE_IN_SAMPLES), fade_in())


def faded_out(pcm: bytes) -> bytes:
    """The last sound of a stream that is cut: its last 40 ms fall to nothing."""
    return _scaled(pcm, slice(-FADE_OUT_SAMPLES, None), _rising(FADE_OUT_SAMPLES)[::-1])


def fade_in() -> NDArray[np.float32]:
    """What each of the first samples is multiplied by: float32 [FADE_IN_SAMPLES], half a cosine."""
    return _rising(FADE_IN_SAMPLES)


def _rising(samples: int) -> NDArray[np.float32]:
    return ((1 - np.cos(np.pi * np.arange(samples) / samples)) / 2).astype(np.float32)


def _scaled(pcm: bytes, part: slice, gains: NDArray[np.float32]) -> bytes:
    samples = np.frombuffer(pcm, "<i2").copy()
    edge = samples[part]
    gains = gains[: len(edge)] if part.start == 0 else gains[len(gains) - len(edge) :]
    edge[:] = np.round(edge * gains).astype("<i2")
    return samples.tobytes()
