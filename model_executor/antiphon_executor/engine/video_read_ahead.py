"""Reads a prompt up to a video that is being decoded: the windows whose frames and sound are there.

The rest of the video's file is still empty, and no window of it is asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.engine.window_read_ahead import PromptReader, WindowReadAhead
from antiphon_executor.interface.media import (
    INPUT_SAMPLE_RATE_HZ,
    AudioClip,
    ClipWriter,
    Media,
    StoredClip,
    VideoClip,
)
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.thinker.mel_writer import MelProgress, MelWriter
from antiphon_executor.models.thinker.window_length import BLOCK_S
from antiphon_executor.models.thinker.windows import video_windows

# Tokens around a video and its sound.
_MARKS = 8


class VideoReadAhead(WindowReadAhead):
    """`request`: without media; its only placeholder is the video's. `video`: without sound.

    `key`, `samples`, `writer`: of its sound, if there are any samples; `writer` has windows of 8 s.
    """

    def __init__(
        self, request: OmniRequest, key: str, video: VideoClip, samples: int, writer: MelWriter,
        reader: PromptReader,
    ) -> None:  # fmt: skip
        self._key = key
        self._video = video
        self._samples = samples
        self._mel = writer
        windows = video_windows(video, None, reader.geometry)
        self._window_ends = [facts.get("first_frame", 0) + len(frames) for frames, facts in windows]
        self._frames = 0
        self._sound = MelProgress(0, 0.0)
        super().__init__(request, reader.ids.video, reader)

    @property
    def writer(self) -> ClipWriter:
        return self

    def frames_written(self, frames: int) -> None:
        self._frames = frames
        self._grow_both()

    def write(self, samples: NDArray[np.float32]) -> None:
        self._mel.write(samples)
        self._loop.call_soon_threadsafe(self._hear, self._mel.progress)

    def finish(self, key: str) -> AudioClip | StoredClip:
        clip = self._mel.finish(key)
        self._loop.call_soon_threadsafe(self._hear, self._mel.progress)
        return clip

    def media(self, part: MelProgress) -> tuple[Media, int]:
        video = self._video
        if self._samples:
            video = replace(video, audio=self._mel.clip(self._key, self._samples, part))
        return Media(videos=(video,)), self._most_tokens(self._window_ends[part.windows - 1])

    def _hear(self, sound: MelProgress) -> None:
        self._sound = sound
        self._grow_both()

    def _grow_both(self) -> None:
        """The last window may have sound of any length behind it, and is left to the client's own request."""
        frames = self._frames
        if self._samples:
            # The sound of a window reaches up to the end of the last 8 s in which it has any.
            heard_s = max(self._sound.windows - 1, 0) * BLOCK_S
            frames = min(frames, int(heard_s * self._video.frames_per_second))
        windows = bisect_right(self._window_ends[:-1], frames)
        self.grow(MelProgress(windows, self._sound.floor))

    def _most_tokens(self, frames: int) -> int:
        """Of the first `frames` and their sound: as many as those of a video that ends there, or fewer."""
        fps, size = self._video.frames_per_second, self._video.frames.shape[1:3]
        samples = min(self._samples, math.ceil(frames / fps * INPUT_SAMPLE_RATE_HZ))
        return self._reader.geometry.video_tokens(frames, fps, size, samples) + _MARKS
