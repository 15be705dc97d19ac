"""Audio → log-mel frames in bounded memory, for clips of many hours, whole or in parts.

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
_LEAST_POWER = 1e-10
# Frame energies are summed in units that divide the hop, the window and its offset.
_UNIT_SAMPLES = 40
# Rounding must not make a bound smaller than what it bounds.
_SPARE = 1.001
# The frames with the highest bounds, computed first: after them most other bounds are below the maximum.
_FIRST_FRAMES = 32


def log_mel(samples: NDArray[np.float32], mel_bins: int) -> Tensor:
    """float32 [mel_bins, `mel_frames(len(samples))`]. ValueError for a clip without samples."""
    levels = _levels(_sound(samples), mel_bins, 0, mel_frames(len(samples)))
    return _normalised(levels, float(levels.max()))


def log_mel_part(
    samples: NDArray[np.float32], mel_bins: int, first: int, stop: int, loudest: float
) -> Tensor:
    """Frames `first` to `stop` of `log_mel`. `loudest`: the clip's `loudest_level`."""
    return _normalised(_levels(_sound(samples), mel_bins, first, stop), loudest)


def levels_of_slice(
    samples: NDArray[np.float32], offset: int, mel_bins: int, first: int, stop: int
) -> Tensor:
    """The logarithms of power in frames `first` to `stop` of a clip: [mel_bins, stop - first].

    `samples`: of the clip from sample `offset` on, with 200 samples before and behind the frames unless the
    clip begins or ends there.
    """
    return _levels(_sound(samples), mel_bins, first, stop, offset)


def loudest_level(samples: NDArray[np.float32], mel_bins: int) -> float:
    """The largest logarithm of power in any mel frame of a clip, which sets the floor of all its frames.

    Computes only frames whose energy allows a new maximum: the power in a mel bin is at most the energy of
    the frame times the filter's peak (Parseval), and a Hann window is at most 1.
    """
    sound, frames, loudest = _sound(samples), mel_frames(len(samples)), -float("inf")
    peak = float(_filters(mel_bins).max()) * FRAME_SAMPLES / 2 * _SPARE
    for start in range(0, frames, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, frames)
        piece = _centred(sound, start, stop)
        bounds = (peak * _energies(piece)).clamp_(min=_LEAST_POWER).log10_()
        order = bounds.argsort(descending=True)
        for likely in (order[:_FIRST_FRAMES], order[_FIRST_FRAMES:]):
            chosen = likely[bounds[likely] > loudest]
            if len(chosen):
                windows = piece.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)[chosen]
                spectrum = torch.fft.rfft(windows * torch.hann_window(FRAME_SAMPLES)).T
                loudest = max(loudest, float(_log_power(spectrum, mel_bins).max()))
    return loudest


def _levels(sound: Tensor, mel_bins: int, first: int, stop: int, offset: int = 0) -> Tensor:
    """The logarithms of power in frames `first` to `stop`: [mel_bins, stop - first]."""
    levels = torch.empty(mel_bins, stop - first)
    window = torch.hann_window(FRAME_SAMPLES)
    for start in range(first, stop, PIECE_FRAMES):
        end = min(start + PIECE_FRAMES, stop)
        piece = _centred(sound, start, end, offset)
        spectrum = torch.stft(
            piece, FRAME_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True
        )
        levels[:, start - first : end - first] = _log_power(spectrum, mel_bins)
    return levels


def _log_power(spectrum: Tensor, mel_bins: int) -> Tensor:
    return (_filters(mel_bins) @ spectrum.abs().square_()).clamp_(min=_LEAST_POWER).log10_()


def _normalised(levels: Tensor, loudest: float) -> Tensor:
    return levels.clamp_(min=loudest - 8.0).add_(4.0).div_(4.0)


def _energies(piece: Tensor) -> Tensor:
    """The sum of squares under each window of a piece from `_centred`."""
    units = piece[: len(piece) // _UNIT_SAMPLES * _UNIT_SAMPLES].square().view(-1, _UNIT_SAMPLES).sum(1)
    return units.unfold(0, FRAME_SAMPLES // _UNIT_SAMPLES, HOP_SAMPLES // _UNIT_SAMPLES).sum(1)


def _sound(samples: NDArray[np.float32]) -> Tensor:
    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    return pad(sound, (0, FRAME_SAMPLES - len(sound))) if len(sound) < FRAME_SAMPLES else sound


def _centred(sound: Tensor, start: int, stop: int, offset: int = 0) -> Tensor:
    """The samples under the windows of frames `start` to `stop`, reflected beyond the clip's ends.

    `offset`: of the first of the samples in the clip.
    """
    begin = start * HOP_SAMPLES - _EDGE - offset
    end = (stop - 1) * HOP_SAMPLES + _EDGE - offset
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
