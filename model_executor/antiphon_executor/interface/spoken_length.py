"""How long a text takes to say: frames by its letters, words and pauses, and the pace of the voice.

In: texts, and in how many frames a voice has spoken them. Out: how many another text will take. An estimate,
for any script; fitted to antiphon-nano's voices, where it is off by 2.3 frames (root mean square). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LETTER, _WORD, _DIGIT, _SYLLABLE, _PAUSE, _OPENING = 0.6, 0.8, 3.0, 2.4, 2.5, 4.0
PAUSE_MARKS = frozenset(",;:.!?…—–\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\u0964\u060c\u061b\u061f")
SENTENCE_MARKS = frozenset(".!?…\u3002\uff01\uff1f\u0964\u061f\n")
_WIDE_MARKS = frozenset("…—\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\u0964")
# A character of these is a syllable: kana, Chinese characters, Hangul.
_SYLLABLES = re.compile(
    "[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)

_PRIOR_PACE = 1.0
_PRIOR_FRAMES = 250.0
_MOST_FRAMES = 5_000.0


def spoken_weights(text: str) -> Iterator[float]:
    """Of each character, the frames that it takes at a pace of 1. A mark is a pause where more follows it."""
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
    """The frames that a letter or digit takes behind another, at a pace of 1; none for what is not heard."""
    if _SYLLABLES.match(character):
        return _SYLLABLE
    if character.isdigit():
        return _DIGIT
    if character.isalpha():
        return _LETTER if before.isalpha() else _LETTER + _WORD
    return 0.0


def spoken_frames(text: str) -> float:
    """Frames of 80 ms at a pace of 1; none for a text of which nothing can be said."""
    weights = sum(spoken_weights(text.strip()))
    return weights + _OPENING if weights else 0.0


class VoicePace:
    """How much slower than ordinary a voice speaks: an ordinary pace at first, then what was measured."""

    def __init__(self) -> None:
        self._said = _PRIOR_FRAMES * _PRIOR_PACE
        self._expected = _PRIOR_FRAMES

    def frames(self, text: str) -> float:
        """How many frames the voice will take to say a text."""
        return spoken_frames(text) * self.pace

    @property
    def pace(self) -> float:
        """How many frames the voice takes for each frame of `spoken_frames`."""
        return self._said / self._expected

    @property
    def doubt(self) -> float:
        """1 while nothing is known of the voice, towards 0 with what it has said."""
        return _PRIOR_FRAMES / self._expected

    def learn(self, text: str, frames: int) -> None:
        """The voice has said the whole text, and ended by itself. Older speech counts for less and less."""
        self._said += frames
        self._expected += spoken_frames(text)
        if self._expected > _MOST_FRAMES:
            self._said *= _MOST_FRAMES / self._expected
            self._expected = _MOST_FRAMES


class VoicePaces:
    """Those of all voices of a Talker, by id."""

    def __init__(self) -> None:
        self._by_voice: dict[str, VoicePace] = {}

    def of(self, voice: str) -> VoicePace:
        """The voice's own; all answers in that voice share it."""
        return self._by_voice.setdefault(voice, VoicePace())
