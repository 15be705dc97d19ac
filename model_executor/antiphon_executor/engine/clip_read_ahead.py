"""Reads a prompt up to a clip that is being decoded; the clip so far is what the engine is asked about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.engine.window_read_ahead import PromptReader, WindowReadAhead
from antiphon_executor.interface.audio_geometry import HOP_SAMPLES
from antiphon_executor.interface.media import AudioClip, ClipWriter, Media, StoredClip
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.thinker.mel_writer import MelProgress, MelWriter
from antiphon_executor.models.thinker.window_length import WINDOW_FRAMES


class ClipReadAhead(WindowReadAhead):
    """`request`: without media; its first placeholder is the clip's. `key`: of the clip."""

    def __init__(self, request: OmniRequest, key: str, writer: MelWriter, reader: PromptReader) -> None:
        super().__init__(request, reader.ids.audio, reader)
        self._key = key
        self._mel = writer

    @property
    def writer(self) -> ClipWriter:
        return self

    def write(self, samples: NDArray[np.float32]) -> None:
        self._mel.write(samples)
        # Of this thread, so that the floor belongs to these windows.
        self._loop.call_soon_threadsafe(self.grow, self._mel.progress)

    def finish(self, key: str) -> AudioClip | StoredClip:
        # The last window may be longer or shorter than others, and is left to the client's own request.
        windows = self._mel.progress.windows
        clip = self._mel.finish(key)
        self._loop.call_soon_threadsafe(self.grow, MelProgress(windows, self._mel.progress.floor))
        return clip

    def media(self, part: MelProgress) -> tuple[Media, int]:
        clip = self._mel.clip(self._key, part.windows * WINDOW_FRAMES * HOP_SAMPLES, part)
        return Media(audios=(clip,)), self._reader.geometry.audio_tokens(clip.num_samples)
