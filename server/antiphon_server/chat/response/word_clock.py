"""Estimate of when each character of an answer's text is spoken, from the text and the pauses of its speech.

Letters share the audible blocks by the weights of `spoken_length`; pauses are matched to punctuation marks by
a beam search. When text and speech are complete, the text is stretched over all of the speech.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from antiphon_executor.interface.events import SAMPLES_PER_FRAME
from antiphon_executor.interface.spoken_length import PAUSE_MARKS, SENTENCE_MARKS, letter_weight
from antiphon_server.chat.response.audible_blocks import BLOCK_SAMPLES, AudibleBlocks, Pause

_BLOCKS_A_FRAME = SAMPLES_PER_FRAME / BLOCK_SAMPLES
_DRAWN_OUT = 2.0
"""Extra frames of the last word, which is spoken more slowly."""

_GUESSES = 8
_TRUST = 0.3
"""Weight of a stretch's measured pace in the estimate for what follows."""
_UNEVEN, _UNEVEN_BLOCKS = 0.12, 8.0
"""Standard deviation of the logarithm of a stretch's pace, and in blocks for short stretches."""
_SKIPPED_MARK, _SKIPPED_STOP = 0.7, 3.0
_SKIPPED_PAUSE, _SKIPPED_PAUSE_BLOCKS = 1.0, 8.0
_MARKS_AHEAD, _FARTHEST = 24, 1.0
"""The number of marks that one pause is tried at, and the greatest logarithm of a pace ratio."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A punctuation mark. `text`: frames of text before it; `cost`: of no pause at it."""

    text: float
    cost: float


@dataclass(frozen=True, slots=True)
class _Guess:
    """A hypothesis of the beam: `text` (frames at pace 1) takes `audible` blocks; `before`: earlier anchors.

    `pace`: of what follows. The lowest cost is the most likely.
    """

    text: float
    audible: float
    pace: float
    cost: float = 0.0
    before: _Guess | None = None

    def anchors(self) -> list[tuple[float, float]]:
        """All (text, audible) pairs, in order."""
        found: list[tuple[float, float]] = []
        at: _Guess | None = self
        while at is not None:
            found.append((at.text, at.audible))
            at = at.before
        return found[::-1]

    def ended(self, text: float, audible: float) -> _Guess:
        """The same hypothesis, stretched over the whole text and speech."""
        if text <= self.text or audible <= self.audible:
            return replace(self, cost=self.cost + _SKIPPED_STOP)
        own, cost = self._stretch(text, audible)
        return _Guess(text, audible, own, self.cost + cost, self)

    def paused(self, pause: Pause, marks: list[_Mark]) -> Iterator[_Guess]:
        """The hypotheses after a pause: it belongs to no mark, or to one of the marks near it."""
        yield replace(self, cost=self.cost + _SKIPPED_PAUSE + pause.blocks / _SKIPPED_PAUSE_BLOCKS)
        passed = 0.0
        first = bisect_right(marks, self.text, key=lambda mark: mark.text)
        for mark in marks[first : first + _MARKS_AHEAD]:
            own, cost = self._stretch(mark.text, pause.audible)
            if own < self.pace * math.exp(-_FARTHEST):
                return
            if own < self.pace * math.exp(_FARTHEST):
                pace = self.pace + _TRUST * (own - self.pace)
                yield _Guess(mark.text, pause.audible, pace, self.cost + passed + cost, self)
            passed += mark.cost

    def _stretch(self, text: float, audible: float) -> tuple[float, float]:
        """The pace since this anchor, and its cost."""
        blocks = max(audible - self.audible, 1.0)
        own = blocks / (text - self.text) / _BLOCKS_A_FRAME
        uneven = math.hypot(_UNEVEN, _UNEVEN_BLOCKS / blocks)
        return own, (math.log(own / self.pace) / uneven) ** 2 / 2


class WordClock:
    """The clock of one spoken answer."""

    def __init__(self) -> None:
        self._blocks = AudibleBlocks()
        self._spoken: list[float] = [0.0]
        self._marks: list[_Mark] = []
        self._last = ""
        self._guesses = [_Guess(0.0, 0.0, pace=1.0)]
        self._anchors = [(0.0, 0.0)]

    def start_speech(self, pace: float) -> None:
        """`pace`: of the voice, see `VoicePace`."""
        self._guesses = [_Guess(0.0, 0.0, pace)]

    def add_text(self, text: str) -> None:
        for character in text:
            if character in PAUSE_MARKS:
                self._add_mark(_SKIPPED_STOP if character in SENTENCE_MARKS else _SKIPPED_MARK)
            self._spoken.append(self._spoken[-1] + letter_weight(character, self._last))
            self._last = character

    def add_speech(self, pcm: bytes) -> None:
        for pause in self._blocks.add_pcm(pcm):
            found = [after for guess in self._guesses for after in guess.paused(pause, self._marks)]
            self._guesses = sorted(found, key=lambda guess: guess.cost)[:_GUESSES]
            self._anchors = self._guesses[0].anchors()

    def complete(self) -> None:
        """Text and speech are complete and belong together."""
        whole = self._spoken[-1] + _DRAWN_OUT
        ended = [guess.ended(whole, len(self._blocks.indices)) for guess in self._guesses]
        self._guesses = [min(ended, key=lambda guess: guess.cost)]
        self._anchors = self._guesses[0].anchors()

    @property
    def end(self) -> int:
        """The sample after the last audible block so far."""
        return self._sample_behind(len(self._blocks.indices))

    def begin_of(self, char: int) -> int | None:
        """The sample where a character begins; None if the speech does not reach it yet."""
        audible, indices = self._audible_before(char), self._blocks.indices
        part, block = math.modf(audible)
        return int((indices[int(block)] + part) * BLOCK_SAMPLES) if block < len(indices) else None

    def end_of(self, char: int) -> int | None:
        """The sample where all text before `char` is spoken; None if the speech does not reach it yet."""
        audible = self._audible_before(char)
        return self._sample_behind(audible) if audible <= len(self._blocks.indices) else None

    def _audible_before(self, char: int) -> float:
        """The number of audible blocks that all text before a character takes."""
        text = self._spoken[min(char, len(self._spoken) - 1)]
        behind = bisect_right(self._anchors, text, key=lambda anchor: anchor[0])
        before = self._anchors[max(behind - 1, 0)]
        if behind == len(self._anchors):
            return before[1] + (text - before[0]) * _BLOCKS_A_FRAME * self._guesses[0].pace
        after = self._anchors[behind]
        return before[1] + (text - before[0]) / (after[0] - before[0]) * (after[1] - before[1])

    def _sample_behind(self, audible: float) -> int:
        block = math.ceil(audible) - 1
        return int((self._blocks.indices[block] + audible - block) * BLOCK_SAMPLES) if audible else 0

    def _add_mark(self, cost: float) -> None:
        """Adds a mark. Consecutive marks count as one, and a mark before the first word does not count."""
        text = self._spoken[-1]
        if self._marks and self._marks[-1].text == text:
            self._marks[-1] = _Mark(text, max(cost, self._marks[-1].cost))
        elif text:
            self._marks.append(_Mark(text, cost))
