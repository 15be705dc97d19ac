"""Audio → log-mel frames for the audio encoder: 16 kHz, 128 mels, 25 ms windows every 10 ms."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperFeatureExtractor

from antiphon_executor.interface.audio_geometry import (
    FRAME_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    mel_frames,
)


def log_mel(samples: NDArray[np.float32], mel_bins: int = 128) -> Tensor:
    """float32 [mel_bins, `mel_frames(len(samples))`] of a mono clip, from `WhisperFeatureExtractor`."""
    extractor = WhisperFeatureExtractor(
        feature_size=mel_bins, sampling_rate=SAMPLE_RATE_HZ, hop_length=HOP_SAMPLES, n_fft=FRAME_SAMPLES
    )
    frames = mel_frames(len(samples))
    filled = np.pad(samples, (0, max(0, FRAME_SAMPLES - len(samples))))
    features = extractor(filled, sampling_rate=SAMPLE_RATE_HZ, padding=True, truncation=False)
    return torch.as_tensor(np.asarray(features["input_features"][0]))[:, :frames]
