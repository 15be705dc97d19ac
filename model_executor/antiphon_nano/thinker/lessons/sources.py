"""Sources of media for lessons: real recordings and drawings, or their contents alone.

`Recorded` supplies real media. `Imagination` supplies what ideal towers would read from media, in unlimited
number and at almost no cost.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

import torch

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.models.qwen3_5_omni.log_mel import log_mel
from antiphon_executor.reference.thinker import Patches
from antiphon_nano.thinker.dialogue import Clip, Picture, Sound
from antiphon_nano.thinker.hearing import script
from antiphon_nano.thinker.hearing.library import Library, Spoken
from antiphon_nano.thinker.hearing.listening import MEL_BINS, Recording, Way, heard, known
from antiphon_nano.thinker.hearing.script import Line
from antiphon_nano.thinker.hearing.tones import Tone
from antiphon_nano.thinker.seeing import clips, drawing, patches, pictures
from antiphon_nano.thinker.seeing.clips import Act
from antiphon_nano.thinker.seeing.pictures import Scene

_WORD_FRAMES = (18.0, 45.0)
"""Minimum and maximum length of a word, in mel frames of 10 ms."""
_AROUND_FRAMES = 60
"""Maximum of silence around the speech, in mel frames."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line and its sound."""

    line: Line
    sound: Sound


class Source(Protocol):
    def sentence(self, chance: random.Random) -> Said:
        """A plain sentence."""
        ...

    def question(self, chance: random.Random) -> Said:
        """A question with its own answer."""
        ...

    def line(self, chance: random.Random, kind: str) -> Said: ...

    def seen(self, chance: random.Random, text: str) -> Said | None:
        """`text`, a question about a picture or clip, if a voice has read it."""
        ...

    def tone(self, tone: Tone) -> Sound: ...

    def picture(self, scene: Scene, chance: random.Random) -> Picture: ...

    def clip(self, act: Act, sound: Sound | None, chance: random.Random) -> Clip: ...


class Recorded:
    """Real media."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def sentence(self, chance: random.Random) -> Said:
        recording = self._library.sentence(chance)
        return Said(Line(recording.text, "", "sentence"), _listened(recording, chance))

    def question(self, chance: random.Random) -> Said:
        return _said(self._library.question(chance), chance)

    def line(self, chance: random.Random, kind: str) -> Said:
        return _said(self._library.line(chance, kind), chance)

    def seen(self, chance: random.Random, text: str) -> Said | None:
        spoken = self._library.seen(chance, text)
        return _said(spoken, chance) if spoken else None

    def tone(self, tone: Tone) -> Sound:
        return toned(tone)

    def picture(self, scene: Scene, chance: random.Random) -> Picture:
        return pictures.show(scene, chance)

    def clip(self, act: Act, sound: Sound | None, chance: random.Random) -> Clip:
        return clips.show(act, chance, sound)


class Imagination:
    """Media without samples or pixels: their size and their contents."""

    def __init__(self) -> None:
        self._fixed = script.fixed()
        self._seen = {line.text for line in self._fixed if line.kind == "seen"}

    def sentence(self, chance: random.Random) -> Said:
        (line,) = script.sentences(chance, 1)
        return _thought(line, chance)

    def question(self, chance: random.Random) -> Said:
        (line,) = script.drawn(chance, 1)
        return _thought(line, chance)

    def line(self, chance: random.Random, kind: str) -> Said:
        return _thought(chance.choice([line for line in self._fixed if line.kind == kind]), chance)

    def seen(self, chance: random.Random, text: str) -> Said | None:
        return _thought(Line(text, "", "seen"), chance) if text in self._seen else None

    def tone(self, tone: Tone) -> Sound:
        return Sound(_silent(mel_frames(len(tone.samples))), tone.words)

    def picture(self, scene: Scene, chance: random.Random) -> Picture:
        return Picture(_blank(1, scene.cells), drawing.labels(scene.things, scene.cells))

    def clip(self, act: Act, sound: Sound | None, chance: random.Random) -> Clip:
        cells = clips.cells(chance)
        blank = _blank(-(-act.frames // patches.TEMPORAL), cells)
        return Clip(blank, act.frames, act.fps, sound, clips.labels(act, cells))


def toned(tone: Tone) -> Sound:
    return Sound(log_mel(tone.samples, MEL_BINS), tone.words, samples=tone.samples)


def _listened(recording: Recording, chance: random.Random) -> Sound:
    return heard(recording, Way.drawn(chance))


def _said(spoken: Spoken, chance: random.Random) -> Said:
    return Said(spoken.line, _listened(spoken.recording, chance))


def _thought(line: Line, chance: random.Random) -> Said:
    words = known(line.text)
    frames = len(words) * chance.uniform(*_WORD_FRAMES) + chance.uniform(0.2, 1) * _AROUND_FRAMES
    return Said(line, Sound(_silent(int(frames)), words))


def _silent(frames: int) -> torch.Tensor:
    """Mel frames without content."""
    return torch.zeros(1, 1).expand(MEL_BINS, frames)


def _blank(time: int, cells: tuple[int, int]) -> Patches:
    rows, columns = cells
    return Patches(torch.empty(0), (time, rows * patches.MERGE, columns * patches.MERGE))
