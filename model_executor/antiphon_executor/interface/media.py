"""Decoded media of a request: the form in which the server passes them to the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUT_SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Mono audio at 16 kHz. `samples`: float32 [num_samples], within -1 to 1."""

    samples: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        return len(self.samples) / INPUT_SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class RgbImage:
    """One still image. `pixels`: uint8 [height, width, 3], RGB."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class VideoClip:
    """Evenly spaced frames of a video, and its audio if the model uses it.

    `frames`: uint8 [num_frames, height, width, 3], RGB. `frames_per_second`: rate of these frames, not of the
    source. `audio` is None for a video without audio and if `use_audio_in_video` is off.
    """

    frames: NDArray[np.uint8]
    frames_per_second: float
    audio: AudioClip | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a request, each kind in the order of its placeholders in the prompt."""

    audios: tuple[AudioClip, ...] = ()
    images: tuple[RgbImage, ...] = ()
    videos: tuple[VideoClip, ...] = ()
