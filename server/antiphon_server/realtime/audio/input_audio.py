"""The input audio of one connection that no item has yet, by its samples since the connection began."""

from __future__ import annotations

from collections import deque

import numpy as np

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.realtime.audio.sound import Samples

# Samples of a piece. The first one is copied for each frame that is dropped.
_PIECE = 8_192


class InputAudio:
    """16 kHz samples in pieces. `received`: how many there were; `kept_from`: the first that is kept."""

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self.kept_from = 0
        self.received = 0

    @property
    def kept(self) -> int:
        return self.received - self.kept_from

    @property
    def kept_s(self) -> float:
        return self.kept / INPUT_SAMPLE_RATE_HZ

    def append(self, samples: Samples) -> None:
        for at in range(0, len(samples), _PIECE):
            self._pieces.append(samples[at : at + _PIECE].copy())
        self.received += len(samples)

    def drop_before(self, sample: int) -> None:
        """The samples before `sample` are in no item to come."""
        while self._pieces and self.kept_from + len(self._pieces[0]) <= sample:
            self.kept_from += len(self._pieces.popleft())
        if self._pieces and sample > self.kept_from:
            # A copy: a view would keep the whole piece in memory.
            self._pieces[0] = self._pieces[0][sample - self.kept_from :].copy()
            self.kept_from = sample

    def copy(self, start: int, end: int) -> Samples:
        """Samples `start` to `end`, as far as they are kept."""
        found, at = [np.zeros(0, np.int16)], self.kept_from
        for piece in self._pieces:
            found.append(piece[max(start - at, 0) : max(end - at, 0)])
            at += len(piece)
        return np.concatenate(found)

    def take(self, start: int, end: int) -> Samples:
        """Samples `start` to `end`, as far as they are kept. All before `end` is dropped."""
        self.drop_before(start)
        held = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        taken = held[: max(end - self.kept_from, 0)].copy()
        self.drop_before(end)
        return taken

    def take_all(self) -> Samples:
        return self.take(self.kept_from, self.received)

    def clear(self) -> None:
        self._pieces.clear()
        self.kept_from = self.received


def milliseconds(samples: int) -> int:
    return samples * 1_000 // INPUT_SAMPLE_RATE_HZ
