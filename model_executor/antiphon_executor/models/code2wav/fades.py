"""Fades of a stream's audio (s16le, 24 kHz): 2 ms in at its start, 40 ms out if it is cut, 10 ms at a join.

A vocoder starts on padding, so its first 0.5 ms are a click, in a one-shot decode too. All samples after the
fade-in are the vocoder's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FADE_IN_SAMPLES = 48
FADE_OUT_SAMPLES = 960
JOIN_SAMPLES = 240


def faded_in(pcm: bytes) -> bytes:
    """Fades in the first piece of a stream; a piece shorter than the fade gets the beginning of it."""
    return _scaled(pcm, slice(0, FADE_IN_SAMPLES), fade_in())


def faded_out(pcm: bytes) -> bytes:
    """Fades the last 40 ms of a stream that is cut to silence."""
    return _scaled(pcm, slice(-FADE_OUT_SAMPLES, None), _rising(FADE_OUT_SAMPLES)[::-1])


def joined(pcm: bytes, last: int) -> bytes:
    """A stream's first piece behind other speech that ended with the sample `last`: it falls to 0 in 10 ms.

    Without it the waveform would step from `last` to the beginning of the fade-in, which is heard as a click.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    tail = last * _rising(JOIN_SAMPLES)[::-1][: len(samples)]
    samples[: len(tail)] += tail
    return np.clip(np.round(samples), -32_768, 32_767).astype("<i2").tobytes()


def fade_in() -> NDArray[np.float32]:
    """Gains of the first samples: float32 [FADE_IN_SAMPLES], half a cosine."""
    return _rising(FADE_IN_SAMPLES)


def _rising(samples: int) -> NDArray[np.float32]:
    return ((1 - np.cos(np.pi * np.arange(samples) / samples)) / 2).astype(np.float32)


def _scaled(pcm: bytes, part: slice, gains: NDArray[np.float32]) -> bytes:
    samples = np.frombuffer(pcm, "<i2").copy()
    edge = samples[part]
    gains = gains[: len(edge)] if part.start == 0 else gains[len(gains) - len(edge) :]
    edge[:] = np.round(edge * gains).astype("<i2")
    return samples.tobytes()
