"""An audio clip as the processors read it: mel frames of any part, normalised by the whole clip."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.models.thinker.log_mel import log_mel, log_mel_part, loudest_level


@dataclass(slots=True, eq=False)
class Clip:
    """Shared by the windows of a clip. `samples`: float32 [num_samples], at 16 kHz."""

    samples: NDArray[np.float32]
    _loudest: dict[int, float] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Mel frames of the whole clip."""
        return mel_frames(len(self.samples))

    def mel(self, mel_bins: int, first: int, stop: int) -> Tensor:
        """float32 [mel_bins, stop - first]: frames `first` to `stop` of the clip's `log_mel`."""
        if first == 0 and stop == self.frames:
            return log_mel(self.samples, mel_bins)
        if mel_bins not in self._loudest:
            self._loudest[mel_bins] = loudest_level(self.samples, mel_bins)
        return log_mel_part(self.samples, mel_bins, first, stop, self._loudest[mel_bins])

    def key(self) -> str:
        """The same for the same samples only."""
        return hashlib.blake2b(np.ascontiguousarray(self.samples).data, digest_size=20).hexdigest()
