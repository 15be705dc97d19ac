"""Image and video sizes after resizing, and the prompt tokens that media take.

The results equal those of the checkpoint's own processor, computed without torch or transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from antiphon_executor.interface.audio_geometry import AudioGeometry, mel_frames

Size = tuple[int, int]
"""(height, width), in pixels."""

_TOKEN_SIDE = 32
# Qwen's processors allow a frame this much over the minimum when the budget of all frames is almost used.
_SPARE = 1.05


@dataclass(frozen=True, slots=True)
class PixelBounds:
    """Sides are rounded to multiples of `factor` pixels; the area stays between the two limits."""

    factor: int = _TOKEN_SIDE
    min_pixels: int = 4 * _TOKEN_SIDE**2
    max_pixels: int = 16_384 * _TOKEN_SIDE**2

    def fit(self, height: int, width: int) -> Size:
        """The resized (height, width) of an image: `smart_resize` of transformers' Qwen2-VL."""
        return self.fit_all(height, width, 1, 1)

    def fit_all(self, height: int, width: int, frames: int, counted: int) -> Size:
        """The size of each of `frames` if the bounds apply to all of them together.

        `counted`: frames rounded to whole temporal patches.
        """
        factor, pixels = self.factor, frames * height * width
        rounded = round(height / factor) * factor, round(width / factor) * factor
        total = counted * rounded[0] * rounded[1]
        if total > self.max_pixels:
            shrink = math.sqrt(pixels / self.max_pixels)
            return self._floor(height / shrink), self._floor(width / shrink)
        if total < self.min_pixels:
            grow = math.sqrt(self.min_pixels / pixels)
            return math.ceil(height * grow / factor) * factor, math.ceil(width * grow / factor) * factor
        return rounded

    def _floor(self, side: float) -> int:
        return max(self.factor, math.floor(side / self.factor) * self.factor)


class FrameBounds(Protocol):
    """Rule by which the frames of a video are resized, all to one size."""

    @property
    def bounds(self) -> PixelBounds: ...

    def fit(self, frames: int, height: int, width: int) -> Size: ...


@dataclass(frozen=True, slots=True)
class PerFrameBounds:
    """Qwen2-VL's rule: `bounds` apply to each frame. `budget`: pixels of all frames (None: no limit)."""

    bounds: PixelBounds = field(default_factory=PixelBounds)
    budget: int | None = None

    def fit(self, frames: int, height: int, width: int) -> Size:
        bounds = self.bounds
        if self.budget is not None:
            max_pixels = max(min(bounds.max_pixels, self.budget // frames), int(bounds.min_pixels * _SPARE))
            bounds = replace(bounds, max_pixels=max_pixels)
        return bounds.fit(height, width)


@dataclass(frozen=True, slots=True)
class WholeVideoBounds:
    """Qwen3-VL's rule: `bounds` apply to all frames together, `frame_max_pixels` to one (None: no limit)."""

    bounds: PixelBounds = field(default_factory=PixelBounds)
    temporal: int = 2
    frame_max_pixels: int | None = None

    def fit(self, frames: int, height: int, width: int) -> Size:
        bounds, frames = self.bounds, max(frames, self.temporal)
        if self.frame_max_pixels is not None:
            share = max(
                min(self.frame_max_pixels, bounds.max_pixels // frames), int(bounds.min_pixels * _SPARE)
            )
            bounds = replace(bounds, max_pixels=share * frames)
        if min(height, width) < bounds.factor:
            scale = max(bounds.factor / height, bounds.factor / width)
            height, width = int(height * scale), int(width * scale)
        counted = round(frames / self.temporal) * self.temporal
        return bounds.fit_all(height, width, frames, counted)


@dataclass(frozen=True, slots=True)
class Timestamps:
    """Timestamps that the prompt holds as text between media.

    `lengths`: tokens of a timestamp with 1, 2, ... digits before its point. `every_ms`: audio between two
    timestamps, in milliseconds.
    """

    lengths: tuple[int, ...]
    every_ms: int

    def tokens(self, time_s: float) -> int:
        digits = len(f"{time_s:.1f}") - 2
        return self.lengths[min(digits, len(self.lengths)) - 1]


@dataclass(frozen=True, slots=True)
class MediaGeometry:
    """Token counts of one checkpoint's media.

    Each count is what a media item adds to a prompt that already counts its placeholder token.
    `temporal`: video frames that share one set of tokens. `timestamps`: None if the model uses none.
    """

    image: PixelBounds = field(default_factory=PixelBounds)
    video: FrameBounds = field(default_factory=PerFrameBounds)
    temporal: int = 2
    audio: AudioGeometry = field(default_factory=lambda: AudioGeometry(halvings=3))
    timestamps: Timestamps | None = None

    def audio_tokens(self, samples: int) -> int:
        """Tokens of an audio clip of `samples` at 16 kHz."""
        heard = self._heard(samples)
        stamped = 0
        if self.timestamps is not None:
            interval = self.audio.first_token(self.timestamps.every_ms)
            starts = range(interval, heard, interval)
            stamped = sum(self.timestamps.tokens(self.audio.start_ms(start) / 1000) for start in starts)
        return max(heard + stamped - 1, 0)

    def image_tokens(self, height: int, width: int) -> int:
        return max(_tokens(self.image.fit(height, width), self.image.factor) - 1, 0)

    def frame_tokens(self, frames: int, size: Size) -> int:
        """Tokens of each temporal patch of a video of `frames`, each of `size`."""
        return _tokens(self.video.fit(frames, *size), self.video.bounds.factor)

    def video_tokens(self, frames: int, fps: float, size: Size, samples: int = 0) -> int:
        """Tokens of a video of `frames` at `fps`, each of `size`, with `samples` of audio at 16 kHz."""
        each = self.frame_tokens(frames, size)
        heard = self._heard(samples)
        if self.timestamps is not None:
            # The placeholder and the two marks around it are already counted.
            return self._stamped(frames, fps, each, heard, self.timestamps) - 3
        marks = 2 if heard else 0
        return patch_count(frames, self.temporal) * each + heard + marks - 1

    def _stamped(self, frames: int, fps: float, each: int, heard: int, timestamps: Timestamps) -> int:
        """Tokens of a video as `PromptRules` writes it: per patch a timestamp, the patch and its audio."""
        times = patch_times_s(frames, fps, self.temporal)
        tokens, done = heard, 0
        for patch, time_s in enumerate(times, start=1):
            tokens += timestamps.tokens(time_s) + 2 + each
            until = self.audio.first_token(patch * self.temporal / fps * 1000)
            end = heard if patch == len(times) else min(until, heard)
            if done < end:
                tokens, done = tokens + 2, end
        return tokens

    def _heard(self, samples: int) -> int:
        return self.audio.tokens(mel_frames(samples)) if samples else 0


def _tokens(size: Size, factor: int) -> int:
    return (size[0] // factor) * (size[1] // factor)


def patch_count(frames: int, temporal: int) -> int:
    """Temporal patches of a video; an incomplete last one counts."""
    return -(-frames // temporal)


def patch_times_s(frames: int, fps: float, temporal: int) -> list[float]:
    """Time of each temporal patch: the middle between its first and last frame, in seconds.

    Equals `Qwen3VLProcessor._calculate_timestamps`; an incomplete last patch repeats the last frame.
    """
    last = frames - 1
    starts = range(0, frames, temporal)
    return [(start / fps + min(start + temporal - 1, last) / fps) / 2 for start in starts]
