"""Audio → log-mel frames in bounded memory, for clips of many hours.

Mono samples at 16 kHz. A clip is normalised by its global maximum. Reference: `reference/mel.py`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from transformers.audio_utils import mel_filter_bank

from antiphon_executor.interface.audio_geometry import (
    FRAME_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    mel_frames,
)

# 30 s of audio fit into a core's cache; shorter and longer pieces are slower.
PIECE_FRAMES = 3_000
_EDGE = FRAME_SAMPLES // 2


def log_mel(samples: NDArray[np.float32], mel_bins: int) -> Tensor:
    """float32 [mel_bins, `mel_frames(len(samples))`]. ValueError for a clip without samples."""
    frames = mel_frames(len(samples))
    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    if len(sound) < FRAME_SAMPLES:
        sound = pad(sound, (0, FRAME_SAMPLES - len(sound)))
    levels = torch.empty(mel_bins, frames)
    filters = _filters(mel_bins)
    window = torch.hann_window(FRAME_SAMPLES)
    for start in range(0, frames, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, frames)
        piece = _centred(sound, start, stop)
        spectrum = torch.stft(
            piece, FRAME_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True
        )
        levels[:, start:stop] = (filters @ spectrum.abs().square_()).clamp_(min=1e-10).log10_()
    return levels.clamp_(min=float(levels.max()) - 8.0).add_(4.0).div_(4.0)


def _centred(sound: Tensor, start: int, stop: int) -> Tensor:
    """The samples under the windows of frames `start` to `stop`, reflected beyond the clip's ends."""
    begin = start * HOP_SAMPLES - _EDGE
    end = (stop - 1) * HOP_SAMPLES + _EDGE
    missing = (max(0, -begin), max(0, end - len(sound)))
    return pad(sound[max(0, begin) : end][None], missing, mode="reflect")[0]


@cache
def _filters(mel_bins: int) -> Tensor:
    """float32 [mel_bins, frequencies], as in `WhisperFeatureExtractor`."""
    bank = mel_filter_bank(
        num_frequency_bins=1 + FRAME_SAMPLES // 2,
        num_mel_filters=mel_bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE_HZ / 2,
        sampling_rate=SAMPLE_RATE_HZ,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank).float().T
