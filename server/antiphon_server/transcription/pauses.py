"""Where a recording has speech, and pieces of it that end in pauses.

A model of speech decides. If it finds none, whatever is louder than the recording's own background counts as
speech: the model that transcribes may still understand it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ

BLOCK = INPUT_SAMPLE_RATE_HZ // 50
_BLOCKS_PER_S = INPUT_SAMPLE_RATE_HZ / BLOCK
# In dB. Below the first everything is silence. Speech stands this far above the background, if the loud part
# of the recording does; else the recording has no background that stands apart.
_SILENT_DBFS, _ABOVE_BACKGROUND_DB, _BELOW_LOUD_DB = -50.0, 10.0, 20.0
_CLICK_BLOCKS = 2
_FRAME = 512
# Speech ends at a lower probability than it begins, as in Silero's own code.
_HYSTERESIS, _LEAST_PROBABILITY = 0.15, 0.01
_TAIL_MS = 200
# More pieces would cost more to ask for than to hear.
_FREE_PIECES, _PIECES_PER_S = 16, 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples `start` to `end` of a recording. `voiced`: the share of them that is speech."""

    start: int
    end: int
    voiced: float

    @property
    def seconds(self) -> tuple[float, float]:
        return self.start / INPUT_SAMPLE_RATE_HZ, self.end / INPUT_SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Cutting:
    """A pause of `pause_ms` ends a piece. Pieces begin `padding_ms` before their speech.

    `threshold`: the probability at which sound counts as speech.
    """

    longest_s: float = 30.0
    pause_ms: int = 500
    padding_ms: int = 300
    threshold: float = 0.5


class SpeechDetector(Protocol):
    def activity(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """For each complete `BLOCK` of samples at 16 kHz, whether it has speech."""


class RecordingScorer(Protocol):
    def score_recording(
        self, samples: NDArray[np.float32], is_abandoned: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """The probability of speech in each frame of 512 samples, the last one padded."""


class LevelDetector:
    """Speech is what is louder than the background."""

    def activity(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        level = levels(samples)
        if not len(level):
            return np.zeros(0, np.bool_)
        background, loud = np.percentile(level, (10, 95))
        threshold = max(_SILENT_DBFS, min(background + _ABOVE_BACKGROUND_DB, loud - _BELOW_LOUD_DB))
        return np.asarray(level > threshold)


class VoiceDetector:
    """Speech is what a model takes for speech; if it finds none, what is louder than the background."""

    def __init__(
        self,
        scorer: RecordingScorer,
        threshold: float = 0.5,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._scorer = scorer
        self._threshold = threshold
        self._is_abandoned = is_abandoned

    def activity(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        blocks = len(samples) // BLOCK
        scores = self._scorer.score_recording(samples, self._is_abandoned)
        voiced = _with_hysteresis(scores, self._threshold)
        if not blocks or not voiced.any():
            return LevelDetector().activity(samples)
        middles = (np.arange(blocks) * BLOCK + BLOCK // 2) // _FRAME
        return np.asarray(voiced[middles])


def _with_hysteresis(scores: NDArray[np.float32], begins: float) -> NDArray[np.bool_]:
    ends = max(begins - _HYSTERESIS, _LEAST_PROBABILITY)
    decided = (scores >= begins) | (scores < ends)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(scores)), 0))
    return np.asarray((scores >= begins)[last])


def levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """dBFS (root mean square) of each complete block."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    power = np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / BLOCK
    return np.asarray(10 * np.log10(power + 1e-12))


def whole(samples: NDArray[np.float32], active: NDArray[np.bool_]) -> list[Piece]:
    """The recording as one piece; none if there is no speech."""
    return [Piece(0, len(samples), float(active.mean()))] if _has_speech(active) else []


def cut_at_pauses(samples: NDArray[np.float32], active: NDArray[np.bool_], rule: Cutting) -> list[Piece]:
    """Pieces with speech, in order and without overlap. Longer pauses end them if there are too many."""
    level = levels(samples)
    seconds = len(samples) / INPUT_SAMPLE_RATE_HZ
    while True:
        pieces = _cut(samples, active, level, rule)
        if len(pieces) <= _FREE_PIECES + seconds * _PIECES_PER_S or rule.pause_ms > seconds * 1_000:
            return pieces
        rule = replace(rule, pause_ms=2 * rule.pause_ms)


def _cut(
    samples: NDArray[np.float32], active: NDArray[np.bool_], level: NDArray[np.float64], rule: Cutting
) -> list[Piece]:
    pieces: list[Piece] = []
    for run in _runs(active, rule):
        for begin, end in _bounded(*run, level, round(rule.longest_s * _BLOCKS_PER_S)):
            start = max(begin * BLOCK - _samples(rule.padding_ms), pieces[-1].end if pieces else 0)
            stop = min(end * BLOCK + _samples(_TAIL_MS), len(samples))
            pieces.append(Piece(min(start, begin * BLOCK), stop, float(active[begin:end].mean())))
    return _without_overlap(pieces)


def _has_speech(active: NDArray[np.bool_]) -> bool:
    return any(end - begin > _CLICK_BLOCKS for begin, end in _edges(active))


def _edges(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _runs(active: NDArray[np.bool_], rule: Cutting) -> list[tuple[int, int]]:
    """Blocks of speech, with the short pauses between them. A click is no speech."""
    runs: list[tuple[int, int]] = []
    for begin, end in _edges(active):
        if runs and (begin - runs[-1][1]) * 1_000 < rule.pause_ms * _BLOCKS_PER_S:
            runs[-1] = (runs[-1][0], end)
        elif end - begin > _CLICK_BLOCKS:
            runs.append((begin, end))
    return runs


def _bounded(begin: int, end: int, level: NDArray[np.float64], most: int) -> list[tuple[int, int]]:
    """A run in parts of at most `most` blocks, cut at the quietest block in the second half of each."""
    parts = []
    while end - begin > most:
        half = begin + most // 2
        cut = half + int(np.argmin(level[half : begin + most])) + 1
        parts.append((begin, cut))
        begin = cut
    return [*parts, (begin, end)]


def _without_overlap(pieces: list[Piece]) -> list[Piece]:
    """A piece ends where the next one begins, if that is earlier."""
    following = [piece.start for piece in pieces[1:]]
    return [
        Piece(piece.start, min(piece.end, start), piece.voiced)
        for piece, start in zip(pieces, [*following, pieces[-1].end if pieces else 0], strict=False)
    ]


def _samples(ms: int) -> int:
    return ms * INPUT_SAMPLE_RATE_HZ // 1_000
