"""The level of a recording, block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def levels(samples: NDArray[np.float32], block: int) -> NDArray[np.float64]:
    """dBFS (root mean square) of each complete block of so many samples."""
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    power = np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / block
    return np.asarray(10 * np.log10(power + 1e-12))
