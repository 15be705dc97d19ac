"""The sizes that the model resizes pictures to, and the tokens that media take in a prompt.

In: sides, lengths and rates. Out: the same numbers as the checkpoint's own processor gives. Pure; imports no
torch and no transformers: a part of `protocol.py`'s boundary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from antiphon_executor.interface.audio_geometry import AudioGeometry, mel_frames

Size = tuple[int, int]
"""(height, width), in pixels."""

_TOKEN_SIDE = 32
# Qwen's processors let a frame grow by this much where the budget of all frames is nearly used up.
_SPARE = 1.05


@dataclass(frozen=True, slots=True)
class PixelBounds:
    """Sides become multiples of `factor`, the side of a token; pixels stay within `least` and `most`."""

    factor: int = _TOKEN_SIDE
    least: int = 4 * _TOKEN_SIDE**2
    most: int = 16_384 * _TOKEN_SIDE**2

    def fit(self, height: int, width: int) -> Size:
        """The size that a picture is resized to: as `smart_resize` of transformers' Qwen2-VL."""
        return self.fit_all(height, width, 1, 1)

    def fit_all(self, height: int, width: int, frames: int, counted: int) -> Size:
        """The bounds hold for all `frames` together, `counted` in whole temporal patches."""
        factor, pixels = self.factor, frames * height * width
        rounded = round(height / factor) * factor, round(width / factor) * factor
        total = counted * rounded[0] * rounded[1]
        if total > self.most:
            shrink = math.sqrt(pixels / self.most)
            return self._floor(height / shrink), self._floor(width / shrink)
        if total < self.least:
            grow = math.sqrt(self.least / pixels)
            return math.ceil(height * grow / factor) * factor, math.ceil(width * grow / factor) * factor
        return rounded

    def _floor(self, side: float) -> int:
        return max(self.factor, math.floor(side / self.factor) * self.factor)


class FrameBounds(Protocol):
    """How the frames of a video are resized, all to one size."""

    @property
    def bounds(self) -> PixelBounds: ...

    def fit(self, frames: int, height: int, width: int) -> Size: ...


@dataclass(frozen=True, slots=True)
class EachFrame:
    """Qwen2-VL's rule: `bounds` are those of a frame. `budget`: pixels of all frames; None is no limit."""

    bounds: PixelBounds = field(default_factory=PixelBounds)
    budget: int | None = None

    def fit(self, frames: int, height: int, width: int) -> Size:
        bounds = self.bounds
        if self.budget is not None:
            most = max(min(bounds.most, self.budget // frames), int(bounds.least * _SPARE))
            bounds = replace(bounds, most=most)
        return bounds.fit(height, width)


@dataclass(frozen=True, slots=True)
class WholeVideo:
    """Qwen3-VL's rule: `bounds` are those of all frames. `frame_most`: pixels of one; None is no limit."""

    bounds: PixelBounds = field(default_factory=PixelBounds)
    temporal: int = 2
    frame_most: int | None = None

    def fit(self, frames: int, height: int, width: int) -> Size:
        bounds, frames = self.bounds, max(frames, self.temporal)
        if self.frame_most is not None:
            share = max(min(self.frame_most, bounds.most // frames), int(bounds.least * _SPARE))
            bounds = replace(bounds, most=share * frames)
        if min(height, width) < bounds.factor:
            scale = max(bounds.factor / height, bounds.factor / width)
            height, width = int(height * scale), int(width * scale)
        counted = round(frames / self.temporal) * self.temporal
        return bounds.fit_all(height, width, frames, counted)


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timestamps between media, as text. `lengths`: tokens of one with 1, 2, ... digits before its point.

    `every_ms`: how much sound stands between two of them.
    """

    lengths: tuple[int, ...]
    every_ms: int

    def tokens(self, time_s: float) -> int:
        digits = len(f"{time_s:.1f}") - 2
        return self.lengths[min(digits, len(self.lengths)) - 1]


@dataclass(frozen=True, slots=True)
class MediaGeometry:
    """One checkpoint's. `temporal`: frames of a video that share their tokens. `stamps`: None without any.

    Every count is what a medium adds to a prompt in which its placeholder is already counted.
    """

    picture: PixelBounds = field(default_factory=PixelBounds)
    video: FrameBounds = field(default_factory=EachFrame)
    temporal: int = 2
    sound: AudioGeometry = field(default_factory=lambda: AudioGeometry(halvings=3))
    stamps: Stamps | None = None

    def sound_tokens(self, samples: int) -> int:
        """Of a clip of `samples` at 16 kHz."""
        heard = self._heard(samples)
        stamped = 0
        if self.stamps is not None:
            interval = self.sound.first_token(self.stamps.every_ms)
            starts = range(interval, heard, interval)
            stamped = sum(self.stamps.tokens(self.sound.start_ms(start) / 1000) for start in starts)
        return max(heard + stamped - 1, 0)

    def picture_tokens(self, height: int, width: int) -> int:
        return max(_tokens(self.picture.fit(height, width), self.picture.factor) - 1, 0)

    def video_tokens(self, frames: int, fps: float, size: Size, samples: int = 0) -> int:
        """Of `frames` at `fps`, each of `size`, with a sound of `samples`."""
        each = _tokens(self.video.fit(frames, *size), self.video.bounds.factor)
        heard = self._heard(samples)
        if self.stamps is not None:
            # The marks around the placeholder go with it.
            return self._stamped(frames, fps, each, heard, self.stamps) - 3
        marks = 2 if heard else 0
        return -(-frames // self.temporal) * each + heard + marks - 1

    def _stamped(self, frames: int, fps: float, each: int, heard: int, stamps: Stamps) -> int:
        """As `PromptRules` writes a video: timestamps, patches between marks, sound between marks."""
        times = patch_times_s(frames, fps, self.temporal)
        tokens, done = heard, 0
        for patch, time_s in enumerate(times, start=1):
            tokens += stamps.tokens(time_s) + 2 + each
            until = self.sound.first_token(patch * self.temporal / fps * 1000)
            end = heard if patch == len(times) else min(until, heard)
            if done < end:
                tokens, done = tokens + 2, end
        return tokens

    def _heard(self, samples: int) -> int:
        return self.sound.tokens(mel_frames(samples)) if samples else 0


def _tokens(size: Size, factor: int) -> int:
    return (size[0] // factor) * (size[1] // factor)


def patch_times_s(frames: int, fps: float, temporal: int) -> list[float]:
    """The time of each temporal patch: half way between its first and last frame.

    As `Qwen3VLProcessor._calculate_timestamps`; a last patch that is not full repeats the last frame.
    """
    last = frames - 1
    starts = range(0, frames, temporal)
    return [(start / fps + min(start + temporal - 1, last) / fps) / 2 for start in starts]
