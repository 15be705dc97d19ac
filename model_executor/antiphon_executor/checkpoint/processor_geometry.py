"""Reads a checkpoint's `MediaGeometry` from its processor and config."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig, Qwen3VLVideoProcessor

from antiphon_executor.checkpoint.audio_rules import audio_geometry_of
from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.interface.media_geometry import (
    FrameBounds,
    MediaGeometry,
    PerFrameBounds,
    PixelBounds,
    Timestamps,
    WholeVideoBounds,
)
from antiphon_executor.models.qwen3_5_omni.prompt import Encode
from antiphon_executor.models.qwen3_omni.processor import VIDEO_SIZE

# Share of `max_video_tokens` that Qwen2-VL's processor allows for all frames of a video.
_BUDGET_SHARE = 0.9
_LONGEST_DIGITS = 6


def media_geometry_of(config: PreTrainedConfig, processor: Any, encode: Encode) -> MediaGeometry:
    """`processor`: of transformers, for the checkpoint. `encode`: text to ids, without control tokens."""
    thinker = config.thinker_config
    interleaved = family_of(config) is QWEN3_5_OMNI
    return MediaGeometry(
        image=_bounds(processor.image_processor, dict(processor.image_processor.size)),
        # Qwen3-Omni's processor has a fixed size for videos and ignores the checkpoint's.
        video=_frames(processor.video_processor, {} if interleaved else VIDEO_SIZE),
        temporal=int(processor.video_processor.temporal_patch_size),
        audio=audio_geometry_of(config),
        timestamps=_timestamps(thinker.audio_config.timestamp_interval_s, encode) if interleaved else None,
    )


def _bounds(processor: Any, size: dict[str, int]) -> PixelBounds:
    factor = int(processor.patch_size) * int(processor.merge_size)
    return PixelBounds(factor, int(size["shortest_edge"]), int(size["longest_edge"]))


def _frames(processor: Any, size: dict[str, int]) -> FrameBounds:
    bounds = _bounds(processor, size or dict(processor.size))
    temporal, capped = int(processor.temporal_patch_size), bool(processor.cap_pixels_per_frame)
    tokens = int(processor.max_video_tokens)
    if isinstance(processor, Qwen3VLVideoProcessor):
        return WholeVideoBounds(bounds, temporal, tokens * bounds.factor**2 if capped else None)
    budget = int(tokens * bounds.factor**2 * _BUDGET_SHARE) * temporal if capped else None
    return PerFrameBounds(bounds, budget)


def _timestamps(interval_s: float, encode: Encode) -> Timestamps:
    """Tokens of the longest timestamp for each number of digits."""
    lengths = []
    for digits in range(1, _LONGEST_DIGITS + 1):
        times = [f"{figure}" * digits + f".{figure}" for figure in "123456789"]
        lengths.append(max(len(encode(f"<{time} seconds>")) for time in times))
    return Timestamps(tuple(lengths), int(interval_s * 1000))
