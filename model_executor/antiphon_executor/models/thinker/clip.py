"""An audio clip as the processors read it: mel frames of any part, normalised by the whole clip."""

from __future__ import annotations

import hashlib
import threading
from typing import cast

import numpy as np
from torch import Tensor

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.interface.media import AudioClip, KnownClip, StoredClip
from antiphon_executor.models.thinker.log_mel import log_mel, log_mel_part, loudest_level
from antiphon_executor.models.thinker.mel_writer import StoredMel
from antiphon_executor.models.thinker.window_length import WINDOW_FRAMES, window_frames


class Clip:
    """Shared by the windows of a clip. A known clip is decoded when the first of its frames is needed."""

    def __init__(self, source: AudioClip | StoredClip | KnownClip) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._decoded: AudioClip | StoredClip | None = None
        self._loudest: dict[int, float] = {}

    @property
    def frames(self) -> int:
        """Mel frames of the whole clip."""
        return mel_frames(self._source.num_samples)

    @property
    def window_frames(self) -> int:
        """Of its windows; the last one may be longer or shorter."""
        match self._source:
            case StoredClip():
                return cast("StoredMel", self._source.features).window_frames
            case KnownClip():
                return window_frames(self._source.window_s)
            case _:
                return WINDOW_FRAMES

    def mel(self, mel_bins: int, first: int, stop: int) -> Tensor:
        """[mel_bins, stop - first]: frames `first` to `stop` of the clip's `log_mel`.

        Of a stored clip they are rounded to the model's numbers already.
        """
        source = self._present()
        if isinstance(source, StoredClip):
            return cast("StoredMel", source.features).part(first, stop)
        if first == 0 and stop == self.frames:
            return log_mel(source.samples, mel_bins)
        if mel_bins not in self._loudest:
            self._loudest[mel_bins] = loudest_level(source.samples, mel_bins)
        return log_mel_part(source.samples, mel_bins, first, stop, self._loudest[mel_bins])

    def key(self) -> str:
        """The same for the same samples only."""
        source = self._source
        if isinstance(source, AudioClip) and source.key is None:
            return hashlib.blake2b(np.ascontiguousarray(source.samples).data, digest_size=20).hexdigest()
        return str(source.key)

    def _present(self) -> AudioClip | StoredClip:
        if not isinstance(self._source, KnownClip):
            return self._source
        with self._lock:
            if self._decoded is None:
                self._decoded = self._source.decode()
            return self._decoded
