"""The size that a picture is decoded to. Pure; used in the server and in decoder processes."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fit:
    """Scale into `min_pixels` to `max_pixels`, then up until no side is under `min_side_pixels`.

    The aspect is kept; sides are rounded down to a multiple of `step_pixels`.
    """

    min_pixels: int
    max_pixels: int
    min_side_pixels: int
    step_pixels: int

    def size(self, width: float, height: float) -> tuple[int, int]:
        """Width and height after scaling; unchanged where they already are within the bounds."""
        pixels = width * height
        scale = 1.0
        if pixels > self.max_pixels:
            scale = math.sqrt(self.max_pixels / pixels)
        elif pixels < self.min_pixels:
            scale = math.sqrt(self.min_pixels / pixels)
        scale = max(scale, self.min_side_pixels / min(width, height))
        step = self.step_pixels
        return (
            max(1, math.floor(width * scale / step + 1e-9)) * step,
            max(1, math.floor(height * scale / step + 1e-9)) * step,
        )
