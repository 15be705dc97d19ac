"""Sources of media for lessons: real recordings and drawings, or their contents alone.

`RecordedMedia` supplies real media. `ImaginedMedia` supplies what ideal towers would read from media, in
unlimited number and at almost no cost.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

import torch

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.models.thinker.log_mel import log_mel
from antiphon_executor.reference.thinker import Patches
from antiphon_nano.thinker.dialogue import Clip, Picture, Sound
from antiphon_nano.thinker.hearing import script
from antiphon_nano.thinker.hearing.augmentation import MEL_BINS, Augmentation, Recording, heard, known
from antiphon_nano.thinker.hearing.library import Library, RecordedLine
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
class SpokenLine:
    """A line and its sound."""

    line: Line
    sound: Sound


class Source(Protocol):
    def sentence(self, rng: random.Random) -> SpokenLine:
        """A plain sentence."""
        ...

    def question(self, rng: random.Random) -> SpokenLine:
        """A question with its own answer."""
        ...

    def line(self, rng: random.Random, kind: str) -> SpokenLine: ...

    def seen(self, rng: random.Random, text: str) -> SpokenLine | None:
        """`text`, a question about a picture or clip, if a voice has read it."""
        ...

    def tone(self, tone: Tone) -> Sound: ...

    def picture(self, scene: Scene, rng: random.Random) -> Picture: ...

    def clip(self, act: Act, sound: Sound | None, rng: random.Random) -> Clip: ...


class RecordedMedia:
    """Real media."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def sentence(self, rng: random.Random) -> SpokenLine:
        recording = self._library.sentence(rng)
        return SpokenLine(Line(recording.text, "", "sentence"), _listened(recording, rng))

    def question(self, rng: random.Random) -> SpokenLine:
        return _said(self._library.question(rng), rng)

    def line(self, rng: random.Random, kind: str) -> SpokenLine:
        return _said(self._library.line(rng, kind), rng)

    def seen(self, rng: random.Random, text: str) -> SpokenLine | None:
        spoken = self._library.seen(rng, text)
        return _said(spoken, rng) if spoken else None

    def tone(self, tone: Tone) -> Sound:
        return toned(tone)

    def picture(self, scene: Scene, rng: random.Random) -> Picture:
        return pictures.show(scene, rng)

    def clip(self, act: Act, sound: Sound | None, rng: random.Random) -> Clip:
        return clips.show(act, rng, sound)


class ImaginedMedia:
    """Media without samples or pixels: their size and their contents."""

    def __init__(self) -> None:
        self._fixed = script.fixed()
        self._seen = {line.text for line in self._fixed if line.kind == "seen"}

    def sentence(self, rng: random.Random) -> SpokenLine:
        (line,) = script.sentences(rng, 1)
        return _thought(line, rng)

    def question(self, rng: random.Random) -> SpokenLine:
        (line,) = script.drawn(rng, 1)
        return _thought(line, rng)

    def line(self, rng: random.Random, kind: str) -> SpokenLine:
        return _thought(rng.choice([line for line in self._fixed if line.kind == kind]), rng)

    def seen(self, rng: random.Random, text: str) -> SpokenLine | None:
        return _thought(Line(text, "", "seen"), rng) if text in self._seen else None

    def tone(self, tone: Tone) -> Sound:
        return Sound(_silent(mel_frames(len(tone.samples))), tone.words)

    def picture(self, scene: Scene, rng: random.Random) -> Picture:
        return Picture(_blank(1, scene.cells), drawing.labels(scene.things, scene.cells))

    def clip(self, act: Act, sound: Sound | None, rng: random.Random) -> Clip:
        cells = clips.cells(rng)
        blank = _blank(-(-act.frames // patches.TEMPORAL), cells)
        return Clip(blank, act.frames, act.fps, sound, clips.labels(act, cells))


def toned(tone: Tone) -> Sound:
    return Sound(log_mel(tone.samples, MEL_BINS), tone.words, samples=tone.samples)


def _listened(recording: Recording, rng: random.Random) -> Sound:
    return heard(recording, Augmentation.drawn(rng))


def _said(spoken: RecordedLine, rng: random.Random) -> SpokenLine:
    return SpokenLine(spoken.line, _listened(spoken.recording, rng))


def _thought(line: Line, rng: random.Random) -> SpokenLine:
    words = known(line.text)
    frames = len(words) * rng.uniform(*_WORD_FRAMES) + rng.uniform(0.2, 1) * _AROUND_FRAMES
    return SpokenLine(line, Sound(_silent(int(frames)), words))


def _silent(frames: int) -> torch.Tensor:
    """Mel frames without content."""
    return torch.zeros(1, 1).expand(MEL_BINS, frames)


def _blank(time: int, cells: tuple[int, int]) -> Patches:
    rows, columns = cells
    return Patches(torch.empty(0), (time, rows * patches.MERGE, columns * patches.MERGE))
