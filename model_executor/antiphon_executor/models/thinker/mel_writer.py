"""Mel frames of a long clip, computed while it is decoded: memory holds a window of samples.

The frames are those of `log_mel`, rounded to the model's numbers: the clip's maximum, which sets the floor of
all frames, is applied at the end, or to a copy before that, and rounding keeps the order of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vllm.config import ModelConfig

from antiphon_executor.interface.audio_geometry import FRAME_MS, FRAME_SAMPLES, HOP_SAMPLES, mel_frames
from antiphon_executor.interface.media import AudioClip, StoredClip
from antiphon_executor.models.thinker.log_mel import levels_of_slice
from antiphon_executor.models.thinker.mel_windows import MelWindows
from antiphon_executor.models.thinker.window_length import LEAST_FRAMES, WINDOW_FRAMES

_EDGE = FRAME_SAMPLES // 2


@dataclass(frozen=True, slots=True)
class StoredMel:
    """Frames of a clip in windows of `window_frames`; the last is shorter. `floor`: what they lack yet."""

    windows: MelWindows
    floor: float | None = None
    window_frames: int = WINDOW_FRAMES

    def part(self, first: int, stop: int) -> Tensor:
        """Frames `first` to `stop`: [mel_bins, stop - first]."""
        parts = []
        while first < stop:
            window, start = divmod(first, self.window_frames)
            end = min(stop - window * self.window_frames, self.window_frames)
            parts.append(self.windows.read(window, self.floor)[:, start:end])
            first += end - start
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def kept_audio_s(model: ModelConfig, mel_bins: int) -> float:
    """Seconds of audio whose frames fit into vLLM's cache of features."""
    media = model.multimodal_config
    gib = media.mm_processor_cache_gb if media is not None else 0
    return gib * (1 << 30) / (mel_bins * model.dtype.itemsize) * FRAME_MS / 1_000


@dataclass(frozen=True, slots=True)
class MelProgress:
    """How many windows of a clip have their frames, and the floor that the loudest of them sets."""

    windows: int
    floor: float


class MelWriter:
    """A `LiveClipWriter`. A clip of a single window is kept as samples. `folder`: as of `MelWindows`."""

    def __init__(
        self,
        mel_bins: int,
        dtype: torch.dtype,
        window_frames: int = WINDOW_FRAMES,
        folder: Path | None = None,
    ) -> None:
        self._mel_bins = mel_bins
        self._dtype = dtype
        self._window_frames = window_frames
        self._pieces: list[NDArray[np.float32]] = []
        # Of the first sample that is still needed, and of the last one, in the clip.
        self._offset = self._written = 0
        self._windows = MelWindows(folder)
        self._loudest = -float("inf")

    def write(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)
        self._written += len(samples)
        # With a second more than the window, which may belong to it.
        size = self._window_frames
        while mel_frames(self._written) >= (len(self._windows) + 1) * size + LEAST_FRAMES:
            self._add_window((len(self._windows) + 1) * size)

    def finish(self, key: str) -> AudioClip | StoredClip:
        if not self._windows:
            return AudioClip(self._joined(), key)
        frames = mel_frames(self._written)
        while (done := len(self._windows) * self._window_frames) < frames:
            self._add_window(min(done + self._window_frames, frames))
        self._pieces.clear()
        floor = self.progress.floor
        self._windows.set_floor(floor)
        mel = StoredMel(self._windows, window_frames=self._window_frames)
        return StoredClip(_clip_key(key, floor), self._written, mel)

    @property
    def progress(self) -> MelProgress:
        return MelProgress(len(self._windows), self._floor(self._loudest))

    def clip(self, key: str, num_samples: int, progress: MelProgress) -> StoredClip:
        """The clip as far as `progress`, of a key that changes with the floor of its frames."""
        mel = StoredMel(self._windows, progress.floor, self._window_frames)
        return StoredClip(_clip_key(key, progress.floor), num_samples, mel)

    def windows_so_far(self, key: str) -> StoredClip | None:
        if not self._windows:
            return None
        # With what came after them: they are then read again before the clip ends, and not only then.
        floor = self._floor(max(self._loudest, self._loudest_of_rest()))
        progress = MelProgress(len(self._windows), floor)
        return self.clip(key, len(self._windows) * self._window_frames * HOP_SAMPLES, progress)

    def clip_so_far(self, key: str) -> AudioClip | StoredClip:
        if not self._windows:
            return AudioClip(self._joined(), key)
        size, frames = self._window_frames, mel_frames(self._written)
        samples, first = self._joined(), len(self._windows) * size
        rest = [
            levels_of_slice(samples, self._offset, self._mel_bins, start, min(start + size, frames))
            for start in range(first, frames, size)
        ]
        floor = self._floor(max([self._loudest, *(float(levels.max()) for levels in rest)]))
        mel = StoredMel(self._windows.with_more(map(self._scaled, rest)), floor, size)
        return StoredClip(_clip_key(key, floor), self._written, mel)

    def _loudest_of_rest(self) -> float:
        """Of the frames behind the windows that have all of their samples."""
        first = len(self._windows) * self._window_frames
        stop = (self._written - _EDGE) // HOP_SAMPLES
        if stop <= first:
            return self._loudest
        return float(levels_of_slice(self._joined(), self._offset, self._mel_bins, first, stop).max())

    def _floor(self, loudest: float) -> float:
        return float(torch.tensor(loudest - 8.0).add_(4.0).div_(4.0).to(self._dtype))

    def _scaled(self, levels: Tensor) -> Tensor:
        return levels.add_(4.0).div_(4.0).to(self._dtype)

    def _add_window(self, stop: int) -> None:
        samples = self._joined()
        first = len(self._windows) * self._window_frames
        levels = levels_of_slice(samples, self._offset, self._mel_bins, first, stop)
        self._loudest = max(self._loudest, float(levels.max()))
        self._windows.append(self._scaled(levels))
        needed = min(max(stop * HOP_SAMPLES - _EDGE, 0), self._written)
        # Copied, so that the samples before are let go.
        self._pieces = [samples[needed - self._offset :].copy()]
        self._offset = needed

    def _joined(self) -> NDArray[np.float32]:
        return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)


def _clip_key(key: str, floor: float) -> str:
    return f"{key}-{floor:.6g}"
