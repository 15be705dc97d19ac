"""Where in a stream's sound something is heard, in blocks of 20 ms, and where it pauses.

In: s16le at 24 kHz, in any pieces. Out: the numbers of the blocks in which something is heard; pauses, as
they end. What counts as heard follows the loudest so far. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ

BLOCK_SAMPLES = OUTPUT_SAMPLE_RATE_HZ // 50
_SHARE, _LEAST = 0.04, 80.0
"""A block is heard above this share of the loudest so far, and above this level of 32,768."""
_PAUSE_BLOCKS = 7


@dataclass(frozen=True, slots=True)
class Pause:
    """`heard`: how many blocks are heard before it; `blocks`: how long it is."""

    heard: int
    blocks: int


class AudibleBlocks:
    """One stream's. `places`: the numbers of the blocks in which something is heard."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self._blocks = 0
        self._rest = b""
        self._loudest = 0.0

    def add(self, pcm: bytes) -> Iterator[Pause]:
        """Gives the pauses behind which something is heard again."""
        pcm = self._rest + pcm
        whole = len(pcm) // (2 * BLOCK_SAMPLES)
        self._rest = pcm[whole * 2 * BLOCK_SAMPLES :]
        samples = np.frombuffer(pcm, "<i2", whole * BLOCK_SAMPLES).astype(np.float32)
        levels = np.sqrt(np.mean(samples.reshape(whole, BLOCK_SAMPLES) ** 2, axis=1))
        for level in levels.tolist():
            self._loudest = max(self._loudest, level)
            if level > max(_SHARE * self._loudest, _LEAST):
                silent = self._blocks - self.places[-1] - 1 if self.places else 0
                if silent >= _PAUSE_BLOCKS:
                    yield Pause(len(self.places), silent)
                self.places.append(self._blocks)
            self._blocks += 1
