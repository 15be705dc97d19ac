"""The chunk rule as arithmetic on arrays: which row stands at which offset of an ARIA stream.

`offset`: int64, rows after the prompt (0 is the first text token), negative inside it. `total`: text tokens
of the stream, `UNKNOWN` before tts_eos. No branch depends on data. Reference: `chunk_rule.stream_order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

UNKNOWN = 1 << 40
Array = TypeVar("Array", NDArray[np.int64], Tensor)


@dataclass(frozen=True, slots=True)
class AriaOrder:
    """`text` tokens alternate with `frames` frames; after the last text token there are only frames."""

    text: int
    frames: int

    def text_before(self, offset: Array, total: Array) -> Array:
        """The number of text tokens before each offset; 0 inside the prompt."""
        place = offset.clip(min=0)
        size = self.text + self.frames
        entered: Any = place // size * self.text + (place % size).clip(max=self.text)
        return entered.clip(max=total)

    def frame_at(self, offset: Array, total: Array) -> Array:
        """The index of the frame at each offset; if text is there, of the next frame."""
        return offset - self.text_before(offset, total)

    def is_text(self, offset: Array, total: Array) -> Array:
        """Whether a text token is at each offset, bool."""
        return self.text_before(offset + 1, total) > self.text_before(offset, total)
