"""Resampling by a fraction: band-limited interpolation, as in torchaudio.

float32 samples. The filter is a sinc in a Hann window, whose length follows the fraction.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_CROSSINGS = 6
_ROLLOFF = 0.97


def resampled(sound: NDArray[np.float32], up: int, down: int) -> NDArray[np.float32]:
    """`up` output samples for `down` input samples."""
    common = math.gcd(up, down)
    up, down = up // common, down // common
    if up == down:
        return sound
    kernel, width = _kernel(up, down)
    padded = functional.pad(torch.from_numpy(sound)[None, None], (width, width + down))
    parts = functional.conv1d(padded, kernel, stride=down)[0]
    whole = parts.T.reshape(-1)[: math.ceil(len(sound) * up / down)]
    return whole.contiguous().numpy()


@cache
def _kernel(up: int, down: int) -> tuple[Tensor, int]:
    """[up, 1, taps]: one filter for each position between two samples."""
    base = min(up, down) * _ROLLOFF
    width = math.ceil(_CROSSINGS * down / base)
    places = torch.arange(-width, width + down, dtype=torch.float64)[None] / down
    times = (places - torch.arange(up, dtype=torch.float64)[:, None] / up) * base
    times = times.clamp(-_CROSSINGS, _CROSSINGS)
    window = torch.cos(times * math.pi / _CROSSINGS / 2) ** 2
    return (torch.sinc(times) * window * (base / down)).float()[:, None], width
