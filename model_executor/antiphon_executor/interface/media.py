"""Decoded media of a request: the form in which the server passes them to the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

INPUT_SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Mono audio at 16 kHz. `samples`: float32 [num_samples], within -1 to 1.

    `key`: the same for the same samples only; the engine keeps features under it. None: of the samples.
    """

    samples: NDArray[np.float32]
    key: str | None = None

    @property
    def num_samples(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> float:
        return self.num_samples / INPUT_SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A long clip of which only the engine's `features` are kept, and not the samples."""

    key: str
    num_samples: int
    features: object

    @property
    def seconds(self) -> float:
        return self.num_samples / INPUT_SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class KnownClip:
    """A clip that was decoded before. The engine asks for it only if it lacks features of it.

    `decode` blocks until it has decoded it again; it is called in a thread.
    """

    key: str
    num_samples: int
    decode: Callable[[], AudioClip | StoredClip]

    @property
    def seconds(self) -> float:
        return self.num_samples / INPUT_SAMPLE_RATE_HZ


class ClipWriter(Protocol):
    """Takes the samples of a clip as they are decoded. Its methods block; call them in a thread, in order."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """The next samples: float32, within -1 to 1."""
        ...

    def finish(self, key: str) -> AudioClip | StoredClip:
        """The clip. `key`: as in `AudioClip`."""
        ...


class SampleWriter:
    """A `ClipWriter` that keeps the samples."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []

    def write(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)

    def finish(self, key: str) -> AudioClip:
        pieces = self._pieces
        return AudioClip(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), key)


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

    audios: tuple[AudioClip | StoredClip | KnownClip, ...] = ()
    images: tuple[RgbImage, ...] = ()
    videos: tuple[VideoClip, ...] = ()
