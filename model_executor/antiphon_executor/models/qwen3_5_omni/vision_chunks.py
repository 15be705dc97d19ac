"""Encodes one picture or video in chunks of whole frames, so that memory does not grow with a video's length.

Attention stays within a frame, so the rows do not depend on the chunks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# About a minute of 720p video at 1 frame per second is ten chunks.
CHUNK_PATCHES = 16_384

Tower = Callable[[Tensor, list[list[int]]], Tensor]


def encode_in_chunks(
    tower: Tower, pixels: Tensor, grid: list[int], chunk_patches: int = CHUNK_PATCHES
) -> Tensor:
    """`pixels`: [patches, values]; `grid`: (time, height, width) in patches → [patches / merge², hidden].

    A chunk has at most `chunk_patches` patches, or is one frame.
    """
    frame = grid[1] * grid[2]
    frames = max(1, chunk_patches // frame)
    parts = pixels.split(frames * frame)
    return torch.cat([tower(part, [[len(part) // frame, *grid[1:]]]) for part in parts])
