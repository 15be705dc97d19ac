"""Decoded media of a request: the form in which the server passes them to the engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
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

    `decode` blocks until it has decoded it again; it is called in a thread. `window_s`: of its windows.
    """

    key: str
    num_samples: int
    decode: Callable[[], AudioClip | StoredClip]
    window_s: int | None = None

    @property
    def seconds(self) -> float:
        return self.num_samples / INPUT_SAMPLE_RATE_HZ


class ClipWriter(Protocol):
    """Takes the samples of a clip as they are decoded. Its methods block; call them in a thread, in order."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """The next samples: float32, within -1 to 1."""
        ...

    def finish(self, key: str) -> AudioClip | StoredClip:
        """The clip. `key`: as in `AudioClip`; that of a `StoredClip` begins with it."""
        ...


class LiveClipWriter(ClipWriter, Protocol):
    """Takes a clip while it is recorded, and shows the engine what there is of it."""

    def windows_so_far(self, key: str) -> AudioClip | StoredClip | None:
        """The windows that are complete; None if none is. They keep their features unless the clip becomes
        louder, which changes the key.
        """
        ...

    def clip_so_far(self, key: str) -> AudioClip | StoredClip:
        """What `finish` would return. More may be written."""
        ...


class SampleWriter:
    """A `LiveClipWriter` that keeps the samples."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []

    def write(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)

    def finish(self, key: str) -> AudioClip:
        pieces = self._pieces
        return AudioClip(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), key)

    def windows_so_far(self, key: str) -> AudioClip | None:
        return None

    def clip_so_far(self, key: str) -> AudioClip:
        return self.finish(key)


@dataclass(frozen=True, slots=True)
class RgbImage:
    """One still image. `pixels`: uint8 [height, width, 3], RGB."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """RGB frames in a file of uint8 [num_frames, height, width, 3], from its frame `first` on.

    The name of the file is the same for the same frames only; the engine keeps features under it. `shape`: of
    these frames. The file lasts as long as `lease` or any copy of it.
    """

    path: Path
    shape: tuple[int, int, int, int]
    first: int = 0
    lease: object = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, first: int, stop: int) -> StoredFrames:
        """Frames `first` to `stop` of these, or to their end."""
        frames = min(stop, len(self)) - first
        return replace(self, shape=(frames, *self.shape[1:]), first=self.first + first)

    def read(self) -> NDArray[np.uint8]:
        """Raises OSError if the file does not hold them."""
        size, each = math.prod(self.shape), math.prod(self.shape[1:])
        pixels = np.fromfile(self.path, np.uint8, size, offset=self.first * each)
        if len(pixels) != size:
            raise OSError(f"{self.path.name} has lost frames")
        return pixels.reshape(self.shape)


Frames = NDArray[np.uint8] | StoredFrames
"""uint8 [num_frames, height, width, 3], RGB."""


@dataclass(frozen=True, slots=True)
class VideoClip:
    """Evenly spaced frames of a video, and its audio if the model uses it.

    `frames_per_second`: rate of these frames, not of the source. `audio` is None for a video without audio
    and if `use_audio_in_video` is off.
    """

    frames: Frames
    frames_per_second: float
    audio: AudioClip | StoredClip | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a request, each kind in the order of its placeholders in the prompt."""

    audios: tuple[AudioClip | StoredClip | KnownClip, ...] = ()
    images: tuple[RgbImage, ...] = ()
    videos: tuple[VideoClip, ...] = ()

    @property
    def leases(self) -> tuple[object, ...]:
        """What keeps the files of stored frames."""
        return tuple(video.frames.lease for video in self.videos if isinstance(video.frames, StoredFrames))
