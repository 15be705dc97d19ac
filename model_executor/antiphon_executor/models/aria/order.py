"""Which row stands where in an ARIA stream, from its place alone: the chunk rule as arithmetic on arrays.

In: offsets behind the prompt (0 is the first token of text), int64, negative inside the prompt; `total`, how
many text tokens the stream has, `UNKNOWN` until tts_eos is seen. Never branches on what the arrays hold.
Reference: `qwen3_5_omni.aria.stream_order`.
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
    """`text` tokens, then `frames` frames, and so on; behind the last token of text there are only frames."""

    text: int
    frames: int

    def text_before(self, offset: Array, total: Array) -> Array:
        """How many text tokens stand before a place; nothing stands before the prompt's end."""
        place = offset.clip(min=0)
        size = self.text + self.frames
        entered: Any = place // size * self.text + (place % size).clip(max=self.text)
        return entered.clip(max=total)

    def frame_at(self, offset: Array, total: Array) -> Array:
        """The frame that stands at a place, or is next where text stands there."""
        return offset - self.text_before(offset, total)

    def is_text(self, offset: Array, total: Array) -> Array:
        """Whether text stands at a place, bool."""
        return self.text_before(offset + 1, total) > self.text_before(offset, total)
