"""A voice that speaks as `spoken_length` says: sound for every letter, silence at every mark.

In: a text, a pace. Out: sound, and where each word begins and ends in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.events import SAMPLES_PER_FRAME
from antiphon_executor.interface.spoken_length import PAUSE_MARKS, letter_weight

PAUSE_SAMPLES = 6_000


@dataclass(frozen=True)
class Said:
    """`words`: (first sample, end sample) of each."""

    pcm: bytes
    words: tuple[tuple[int, int], ...]


def speak(text: str, pace: float = 1.0, unevenness: float = 0.0, seed: int = 0) -> Said:
    """`unevenness`: how much a word's own pace varies (standard deviation of its logarithm)."""
    chance = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    words, at = [], 0

    def add(samples: int, level: float) -> None:
        nonlocal at
        parts.append(level * np.sin(np.arange(samples) * 0.3))
        at += samples

    for piece in re.findall(r"[\w']+|[^\w\s]", text):
        if piece in PAUSE_MARKS:
            add(PAUSE_SAMPLES, 0)
        elif piece[0].isalnum():
            weight = sum(letter_weight(c, piece[i - 1 : i]) for i, c in enumerate(piece))
            begin = at
            add(round(weight * SAMPLES_PER_FRAME * pace * float(np.exp(chance.normal(0, unevenness)))), 9_000)
            words.append((begin, at))
    return Said(np.concatenate(parts or [np.zeros(0)]).astype("<i2").tobytes(), tuple(words))
