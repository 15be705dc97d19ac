"""Bounds for resizing an image: its pixels, its shorter side and the step of its sides."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResizeBounds:
    """Scales to between `min_pixels` and `max_pixels`, then up until no side is below `min_side_pixels`.

    The aspect ratio is kept; sides are rounded down to a multiple of `step_pixels`.
    """

    min_pixels: int
    max_pixels: int
    min_side_pixels: int
    step_pixels: int

    def size(self, width: float, height: float) -> tuple[int, int]:
        """Width and height after scaling; unchanged if they are within the bounds."""
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
