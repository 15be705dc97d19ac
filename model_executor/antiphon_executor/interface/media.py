"""Decoded media of a request, as the server hands them to the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUT_SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Mono sound at 16 kHz. `samples`: float32 [num_samples], within -1 to 1."""

    samples: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        return len(self.samples) / INPUT_SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Picture:
    """One still image. `pixels`: uint8 [height, width, 3], RGB."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class VideoClip:
    """Sampled frames of a video, evenly spaced, and its sound where the model is to hear it.

    `frames`: uint8 [num_frames, height, width, 3], RGB. `frames_per_second`: the spacing of `frames`,
    not of the source. `sound` is None for a silent video and where `use_audio_in_video` is off.
    """

    frames: NDArray[np.uint8]
    frames_per_second: float
    sound: AudioClip | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a turn, each kind in the order of its placeholders in the prompt."""

    audios: tuple[AudioClip, ...] = ()
    pictures: tuple[Picture, ...] = ()
    videos: tuple[VideoClip, ...] = ()
