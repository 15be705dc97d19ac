"""Estimates how many frames a text takes to speak, from its letters, words and pauses and the voice's pace.

Works for any script. Fitted to antiphon-nano's voices; its error there is 2.3 frames (root mean square).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LETTER, _WORD, _DIGIT, _SYLLABLE, _PAUSE, _OPENING = 0.6, 0.8, 3.0, 2.4, 2.5, 4.0
PAUSE_MARKS = frozenset(",;:.!?…—–\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\u0964\u060c\u061b\u061f")
SENTENCE_MARKS = frozenset(".!?…\u3002\uff01\uff1f\u0964\u061f\n")
_WIDE_MARKS = frozenset("…—\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\u0964")
# Scripts in which one character is one syllable: kana, Chinese characters, Hangul.
_SYLLABLES = re.compile(
    "[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)

_PRIOR_PACE = 1.0
_PRIOR_FRAMES = 250.0
_MOST_FRAMES = 5_000.0


def spoken_weights(text: str) -> Iterator[float]:
    """Frames that each character takes at pace 1. A punctuation mark is a pause if more text follows."""
    for at, character in enumerate(text):
        before, behind = text[at - 1 : at], text[at + 1 : at + 2]
        pauses = character == "\n" or (
            character in PAUSE_MARKS and (behind.isspace() or character in _WIDE_MARKS)
        )
        if pauses and before not in PAUSE_MARKS and not before.isspace():
            yield _PAUSE
        else:
            yield letter_weight(character, before)


def letter_weight(character: str, before: str) -> float:
    """Frames that a letter or digit takes after `before`, at pace 1; 0 for a character that is not heard."""
    if _SYLLABLES.match(character):
        return _SYLLABLE
    if character.isdigit():
        return _DIGIT
    if character.isalpha():
        return _LETTER if before.isalpha() else _LETTER + _WORD
    return 0.0


def spoken_frames(text: str) -> float:
    """Frames (80 ms each) of a text at pace 1; 0 for a text without anything to speak."""
    weights = sum(spoken_weights(text.strip()))
    return weights + _OPENING if weights else 0.0


class VoicePace:
    """Measured slowness of one voice, relative to an ordinary voice. Starts at 1."""

    def __init__(self) -> None:
        self._spoken = _PRIOR_FRAMES * _PRIOR_PACE
        self._expected = _PRIOR_FRAMES

    def frames(self, text: str) -> float:
        """Estimated frames that the voice takes for a text."""
        return spoken_frames(text) * self.pace

    @property
    def pace(self) -> float:
        """Frames that the voice takes per frame of `spoken_frames`."""
        return self._spoken / self._expected

    @property
    def uncertainty(self) -> float:
        """1 before the first measurement; falls towards 0 with each measured text."""
        return _PRIOR_FRAMES / self._expected

    def measured(self, text: str, frames: int) -> None:
        """The voice spoke the whole text in `frames` and ended by itself. Older texts count less."""
        self._spoken += frames
        self._expected += spoken_frames(text)
        if self._expected > _MOST_FRAMES:
            self._spoken *= _MOST_FRAMES / self._expected
            self._expected = _MOST_FRAMES


class VoicePaces:
    """The pace of each voice of a Talker, by id."""

    def __init__(self) -> None:
        self._by_voice: dict[str, VoicePace] = {}

    def of(self, voice: str) -> VoicePace:
        """The pace of `voice`, shared by all answers in that voice."""
        return self._by_voice.setdefault(voice, VoicePace())


class UnlearnedPaces(VoicePaces):
    """An ordinary pace for each answer, so that it depends on no other answer."""

    def of(self, voice: str) -> VoicePace:
        return VoicePace()
