"""One picture or video through the vision tower, in parcels of whole frames.

In: upstream's tower, an item's patches. Out: its rows. Frames attend to themselves alone, so a parcel changes
none of them, and the memory that a long video takes does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# About a minute of 720p video at 1 frame a second is ten of these.
CHUNK_PATCHES = 16_384

Tower = Callable[[Tensor, list[list[int]]], Tensor]


def encode_in_chunks(
    tower: Tower, pixels: Tensor, grid: list[int], chunk_patches: int = CHUNK_PATCHES
) -> Tensor:
    """`pixels`: [patches, values]; `grid`: (time, height, width) in patches → [patches / merge², hidden].

    A parcel has at most `chunk_patches`, or is one frame.
    """
    frame = grid[1] * grid[2]
    frames = max(1, chunk_patches // frame)
    parts = pixels.split(frames * frame)
    return torch.cat([tower(part, [[len(part) // frame, *grid[1:]]]) for part in parts])
