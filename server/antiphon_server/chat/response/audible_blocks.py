"""Audible blocks and pauses of a stream of speech, in blocks of 20 ms.

A block is audible by its level relative to the loudest block so far. Input: s16le PCM at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ

BLOCK_SAMPLES = OUTPUT_SAMPLE_RATE_HZ // 50
_SHARE, _LEAST = 0.04, 80.0
"""A block is audible above this share of the loudest level so far, and above this level of 32,768."""
_PAUSE_BLOCKS = 7


@dataclass(frozen=True, slots=True)
class Pause:
    """`audible`: the number of audible blocks before it; `blocks`: its length."""

    audible: int
    blocks: int


class AudibleBlocks:
    """One stream's. `indices`: the numbers of the audible blocks."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self._blocks = 0
        self._rest = b""
        self._loudest = 0.0

    def add_pcm(self, pcm: bytes) -> Iterator[Pause]:
        """Yields the pauses that have ended: an audible block follows them."""
        pcm = self._rest + pcm
        whole = len(pcm) // (2 * BLOCK_SAMPLES)
        self._rest = pcm[whole * 2 * BLOCK_SAMPLES :]
        samples = np.frombuffer(pcm, "<i2", whole * BLOCK_SAMPLES).astype(np.float32)
        levels = np.sqrt(np.mean(samples.reshape(whole, BLOCK_SAMPLES) ** 2, axis=1))
        for level in levels.tolist():
            self._loudest = max(self._loudest, level)
            if level > max(_SHARE * self._loudest, _LEAST):
                silent = self._blocks - self.indices[-1] - 1 if self.indices else 0
                if silent >= _PAUSE_BLOCKS:
                    yield Pause(len(self.indices), silent)
                self.indices.append(self._blocks)
            self._blocks += 1
