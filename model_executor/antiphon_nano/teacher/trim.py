"""Trailing silence: how much of it an utterance keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from antiphon_nano.teacher.shard import FRAME_SAMPLES

QUIET_FRAMES = 2
_QUIET = 10 ** (-50 / 20)
"""Root mean square of 10 ms below which it counts as silent."""
_STRETCH = FRAME_SAMPLES // 8


def kept_frames(sound: NDArray[np.float32]) -> int:
    """How many frames of [frames * 1920] to keep: up to the last sound, and `QUIET_FRAMES` more."""
    frames = len(sound) // FRAME_SAMPLES
    loudness = np.sqrt(np.square(sound.reshape(-1, _STRETCH)).mean(1))
    loud = np.flatnonzero(loudness > _QUIET)
    last = int(loud[-1]) // 8 + 1 if len(loud) else 0
    return min(frames, last + QUIET_FRAMES)


def clipped_starts(starts: Sequence[int], frames: int) -> list[int]:
    """First frames of tokens, limited to the last frame but one: a punctuation mark may be all silence."""
    return [min(start, frames - 2) for start in starts]
