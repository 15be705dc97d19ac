"""Pixels to patches, exactly as transformers' Qwen2-VL processors but faster; and those processors.

Frames are RGB with sides of whole cells. The checkpoint is served with `processors`, which first scale a
picture to such a size.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

from antiphon_executor.reference.thinker import Patches

PATCH = 16
MERGE = 2
TEMPORAL = 2
CELL = PATCH * MERGE
"""Side of a token's cell in pixels."""
PICTURE_CELLS = 36
CLIP_CELLS = 16
"""Maximum of cells in a picture or frame. Larger ones are scaled down."""
_FEWEST_CELLS = 9
_MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
_DEVIATION = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)


def processors() -> tuple[Qwen2VLImageProcessor, Qwen2VLVideoProcessor]:
    cut = {"patch_size": PATCH, "temporal_patch_size": TEMPORAL, "merge_size": MERGE}
    least = _FEWEST_CELLS * CELL**2
    return (
        Qwen2VLImageProcessor(**cut, size={"shortest_edge": least, "longest_edge": PICTURE_CELLS * CELL**2}),
        Qwen2VLVideoProcessor(**cut, size={"shortest_edge": least, "longest_edge": CLIP_CELLS * CELL**2}),
    )


def uncut(patches: Patches) -> NDArray[np.uint8]:
    """The frames, uint8 [n, height, width, 3]. A picture gives two equal frames."""
    time, height, width = patches.grid
    normal = patches.pixels.numpy().reshape(
        time, height // MERGE, width // MERGE, MERGE, MERGE, 3, TEMPORAL, PATCH, PATCH
    )
    frames = normal.transpose(0, 6, 1, 3, 7, 2, 4, 8, 5).reshape(-1, height * PATCH, width * PATCH, 3)
    return np.rint((frames * _DEVIATION + _MEAN) * 255).clip(0, 255).astype(np.uint8)


def cut(frames: NDArray[np.uint8]) -> Patches:
    """`frames`: uint8 [n, height, width, 3]. One frame is a picture; an odd last frame is repeated."""
    if len(frames) % TEMPORAL:
        frames = np.concatenate((frames, frames[-1:]))
    count, height, width, _ = frames.shape
    normal = (frames.astype(np.float32) / 255 - _MEAN) / _DEVIATION
    grid = (count // TEMPORAL, height // PATCH, width // PATCH)
    shaped = normal.reshape(
        grid[0], TEMPORAL, grid[1] // MERGE, MERGE, PATCH, grid[2] // MERGE, MERGE, PATCH, 3
    ).transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    pixels = np.ascontiguousarray(shaped).reshape(-1, 3 * TEMPORAL * PATCH**2)
    return Patches(torch.from_numpy(pixels), grid)
