"""Image augmentation: another size and lossy compression, as between a client and the model.

A model trained on clean edges alone does not recognise compressed pictures, or the subsampled colours of
video.
"""

from __future__ import annotations

import io
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CLEAN = 0.4
_RESIZED = 0.5
_QUALITY = (40, 95)
_SCALE = (0.7, 2.5)


def degraded(frames: NDArray[np.uint8], rng: random.Random) -> NDArray[np.uint8]:
    """`frames`: uint8 [n, height, width, 3], all changed alike."""
    if rng.random() < _CLEAN:
        return frames
    quality = rng.randint(*_QUALITY)
    scale = rng.uniform(*_SCALE) if rng.random() < _RESIZED else 1.0
    return np.stack([_degraded(Image.fromarray(frame), quality, scale) for frame in frames])


def _degraded(image: Image.Image, quality: int, scale: float) -> NDArray[np.uint8]:
    """JPEG in 4:2:0 at another size, scaled back as processors do."""
    width, height = (max(32, round(side * scale)) for side in image.size)
    packed = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(
        packed, "JPEG", quality=quality, subsampling=2
    )
    return np.asarray(Image.open(packed).convert("RGB").resize(image.size, Image.Resampling.BICUBIC))
