"""When each character of an answer's text is said: an estimate from how it sounds and how much text there is.

In: sound and text as they come. Out: samples. Letters share the time in which something is heard, by the
weights of `spoken_length` at the voice's pace; pauses stand at punctuation marks, as fits best so far (a beam
of guesses); once the sound is complete, the text is stretched over all of it. Pure.
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
"""Frames by which the last word is longer than its letters say."""

_GUESSES = 8
_TRUST = 0.3
"""How much of a stretch's own pace counts for what follows."""
_UNEVEN, _UNEVEN_BLOCKS = 0.12, 8.0
"""How much a stretch's pace varies (standard deviation of its logarithm), and by how many blocks anyway."""
_SKIPPED_MARK, _SKIPPED_STOP = 0.7, 3.0
_SKIPPED_PAUSE, _SKIPPED_PAUSE_BLOCKS = 1.0, 8.0
_MARKS_AHEAD, _FARTHEST = 24, 1.0
"""How many marks may go by without a pause, and the logarithm of a pace that no stretch has."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """`text`: frames of text before it; `cost`: of no pause at it."""

    text: float
    cost: float


@dataclass(frozen=True, slots=True)
class _Guess:
    """An anchor: so much text (frames at a pace of 1) is said in so many heard blocks; and those `before` it.

    `pace`: of what follows. The least cost is the likeliest.
    """

    text: float
    heard: float
    pace: float
    cost: float = 0.0
    before: _Guess | None = None

    def anchors(self) -> list[tuple[float, float]]:
        """All, from the beginning on."""
        found: list[tuple[float, float]] = []
        at: _Guess | None = self
        while at is not None:
            found.append((at.text, at.heard))
            at = at.before
        return found[::-1]

    def ended(self, text: float, heard: float) -> _Guess:
        """The same, stretched over the whole text and sound."""
        if text <= self.text or heard <= self.heard:
            return replace(self, cost=self.cost + _SKIPPED_STOP)
        own, cost = self._stretch(text, heard)
        return _Guess(text, heard, own, self.cost + cost, self)

    def paused(self, pause: Pause, marks: list[_Mark]) -> Iterator[_Guess]:
        """What it may become behind a pause: at none of the marks, or at one of those that are near."""
        yield replace(self, cost=self.cost + _SKIPPED_PAUSE + pause.blocks / _SKIPPED_PAUSE_BLOCKS)
        passed = 0.0
        first = bisect_right(marks, self.text, key=lambda mark: mark.text)
        for mark in marks[first : first + _MARKS_AHEAD]:
            own, cost = self._stretch(mark.text, pause.heard)
            if own < self.pace * math.exp(-_FARTHEST):
                return
            if own < self.pace * math.exp(_FARTHEST):
                pace = self.pace + _TRUST * (own - self.pace)
                yield _Guess(mark.text, pause.heard, pace, self.cost + passed + cost, self)
            passed += mark.cost

    def _stretch(self, text: float, heard: float) -> tuple[float, float]:
        """The pace since this anchor, and how unlikely that is."""
        blocks = max(heard - self.heard, 1.0)
        own = blocks / (text - self.text) / _BLOCKS_A_FRAME
        uneven = math.hypot(_UNEVEN, _UNEVEN_BLOCKS / blocks)
        return own, (math.log(own / self.pace) / uneven) ** 2 / 2


class WordClock:
    """One spoken answer."""

    def __init__(self) -> None:
        self._blocks = AudibleBlocks()
        self._said: list[float] = [0.0]
        self._marks: list[_Mark] = []
        self._last = ""
        self._guesses = [_Guess(0.0, 0.0, pace=1.0)]
        self._anchors = [(0.0, 0.0)]

    def begin(self, pace: float) -> None:
        """The sound begins. `pace`: of its voice, see `VoicePace`."""
        self._guesses = [_Guess(0.0, 0.0, pace)]

    def add_text(self, text: str) -> None:
        for character in text:
            if character in PAUSE_MARKS:
                self._mark(_SKIPPED_STOP if character in SENTENCE_MARKS else _SKIPPED_MARK)
            self._said.append(self._said[-1] + letter_weight(character, self._last))
            self._last = character

    def add_sound(self, pcm: bytes) -> None:
        for pause in self._blocks.add(pcm):
            found = [after for guess in self._guesses for after in guess.paused(pause, self._marks)]
            self._guesses = sorted(found, key=lambda guess: guess.cost)[:_GUESSES]
            self._anchors = self._guesses[0].anchors()

    def complete(self) -> None:
        """Text and sound are complete, and belong together."""
        whole = self._said[-1] + _DRAWN_OUT
        ended = [guess.ended(whole, len(self._blocks.places)) for guess in self._guesses]
        self._guesses = [min(ended, key=lambda guess: guess.cost)]
        self._anchors = self._guesses[0].anchors()

    @property
    def end(self) -> int:
        """The sample behind all that has been heard so far."""
        return self._sample_behind(len(self._blocks.places))

    def begin_of(self, char: int) -> int | None:
        """The sample where the character is begun; None where the sound does not go so far."""
        heard, places = self._heard_before(char), self._blocks.places
        part, block = math.modf(heard)
        return int((places[int(block)] + part) * BLOCK_SAMPLES) if block < len(places) else None

    def end_of(self, char: int) -> int | None:
        """The sample where all that stands before `char` is said; None where the sound does not go so far."""
        heard = self._heard_before(char)
        return self._sample_behind(heard) if heard <= len(self._blocks.places) else None

    def _heard_before(self, char: int) -> float:
        """How many heard blocks all that stands before the character takes."""
        text = self._said[min(char, len(self._said) - 1)]
        behind = bisect_right(self._anchors, text, key=lambda anchor: anchor[0])
        before = self._anchors[max(behind - 1, 0)]
        if behind == len(self._anchors):
            return before[1] + (text - before[0]) * _BLOCKS_A_FRAME * self._guesses[0].pace
        after = self._anchors[behind]
        return before[1] + (text - before[0]) / (after[0] - before[0]) * (after[1] - before[1])

    def _sample_behind(self, heard: float) -> int:
        block = math.ceil(heard) - 1
        return int((self._blocks.places[block] + heard - block) * BLOCK_SAMPLES) if heard else 0

    def _mark(self, cost: float) -> None:
        """Marks that follow each other are one; one before all words is none."""
        text = self._said[-1]
        if self._marks and self._marks[-1].text == text:
            self._marks[-1] = _Mark(text, max(cost, self._marks[-1].cost))
        elif text:
            self._marks.append(_Mark(text, cost))
