"""The state of one stream of audio between its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONTEXT, UNITS = 64, 128


def _zeros(size: int) -> NDArray[np.float32]:
    return np.zeros(size, np.float32)


@dataclass(slots=True)
class SpeechStream:
    """`context`: the last samples of the frame before. `hidden`, `cell`: of the recurrent layer."""

    context: NDArray[np.float32] = field(default_factory=lambda: _zeros(CONTEXT))
    hidden: NDArray[np.float32] = field(default_factory=lambda: _zeros(UNITS))
    cell: NDArray[np.float32] = field(default_factory=lambda: _zeros(UNITS))
