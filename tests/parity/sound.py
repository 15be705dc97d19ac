"""Compares a stream's sound with the one-shot decode: equal except for the fade-in of its first 2 ms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.models.code2wav.fades import FADE_IN_SAMPLES, fade_in

# A sample of s16 is 1 / 32767; half of one is lost in rounding, and again in the fade-in.
_ROUNDED = 0.5 / 32767


def assert_same_wave(pcm: NDArray[Any], wave: NDArray[np.float32]) -> None:
    """`pcm`: int16 [samples]; `wave`: float32 [samples], as the reference decodes it."""
    assert len(pcm) == len(wave)
    edge = min(FADE_IN_SAMPLES, len(wave))
    meant = wave.copy()
    meant[:edge] *= fade_in()[:edge]
    error = np.abs(pcm / 32767 - meant)
    bound = 1e-4 * np.abs(wave).max() + _ROUNDED
    assert error[edge:].max() < bound
    assert error[:edge].max() < bound + _ROUNDED
