"""Pixel values of stored frames: an item of the prompt says where they lie, and the model reads its window.

So a long video is neither sent to the engine nor kept in its cache of features; memory holds one window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from vllm.config import ModelConfig
from vllm.multimodal import MULTIMODAL_REGISTRY

from antiphon_executor.interface.media import StoredFrames
from antiphon_executor.interface.media_geometry import patch_count
from antiphon_executor.models.thinker.video_pixels import video_pixels

_CHANNELS = 3

_log = logging.getLogger("antiphon.engine")


class _Place(msgspec.Struct, frozen=True):
    """As `StoredFrames`. `size`: (height, width) to which they are resized."""

    path: str
    first: int
    shape: tuple[int, int, int, int]
    size: tuple[int, int]


def pixel_place(frames: StoredFrames, size: tuple[int, int]) -> Tensor:
    """An item's `pixel_values_videos` in place of its values: uint8 [n]."""
    place = _Place(str(frames.path), frames.first, frames.shape, size)
    return torch.frombuffer(bytearray(msgspec.json.encode(place)), dtype=torch.uint8)


def stored_grid(frames: StoredFrames, size: tuple[int, int], processor: Any) -> Tensor:
    """An item's `video_grid_thw`: int64 [3]."""
    patch = int(processor.patch_size)
    times = patch_count(len(frames), int(processor.temporal_patch_size))
    return torch.tensor((times, size[0] // patch, size[1] // patch))


class PixelReader:
    """Reads the pixel values of items by the checkpoint's video processor, as numbers of `dtype`.

    `processor`: makes it, at the first stored frames. `options`: of it, as for `video_pixels`.
    """

    def __init__(self, processor: Callable[[], Any], dtype: torch.dtype, **options: Any) -> None:
        self._make_processor = processor
        self._dtype = dtype
        self._options = options

    @classmethod
    def of(cls, model: ModelConfig, **options: Any) -> PixelReader:
        def processor() -> Any:
            return MULTIMODAL_REGISTRY.create_processor(model).info.get_hf_processor().video_processor

        return cls(processor, model.dtype, **options)

    @cached_property
    def _processor(self) -> Any:
        return self._make_processor()

    def read(self, item: Tensor, device: torch.device) -> Tensor:
        """[patches, values]. `item`: the values, or their place.

        Lost frames become NaN, with which the scheduler ends the request and no other.
        """
        if item.dtype != torch.uint8:
            return item.to(device)
        place = msgspec.json.decode(item.cpu().numpy().tobytes(), type=_Place)
        stored = StoredFrames(Path(place.path), place.shape, place.first)
        try:
            frames = stored.read()
        except OSError as error:
            _log.error("the frames of a video are lost: %s", error)
            return self._lost(stored, place.size).to(device)
        # Qwen3-VL's processor rejects fewer frames than one patch; a patch repeats its last frame anyway.
        missing = max(0, int(self._processor.temporal_patch_size) - len(frames))
        if missing:
            frames = np.concatenate((frames, np.repeat(frames[-1:], missing, axis=0)))
        pixels = video_pixels(self._processor, frames, place.size, **self._options)["pixel_values_videos"]
        return pixels.to(self._dtype).to(device)

    def _lost(self, frames: StoredFrames, size: tuple[int, int]) -> Tensor:
        processor = self._processor
        patches = int(stored_grid(frames, size, processor).prod())
        values = _CHANNELS * int(processor.temporal_patch_size) * int(processor.patch_size) ** 2
        return torch.full((patches, values), float("nan"), dtype=self._dtype)
