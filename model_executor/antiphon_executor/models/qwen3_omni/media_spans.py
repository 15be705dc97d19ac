"""Where the media of a Qwen3-Omni prompt lie: vLLM's multimodal features → `MediaSpan`s.

Read by the worker, for its own rotations, and by the scheduler, for the Talker's prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from antiphon_executor.models.qwen3_omni.positions import AudioSpan, MediaSpan, SoundVideoSpan, VisionSpan
from antiphon_executor.models.thinker.features import feature_numbers

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def media_spans(features: Sequence[MultiModalFeatureSpec], config: PretrainedConfig) -> list[MediaSpan]:
    """`config`: the Thinker's. ValueError for a feature whose data the processor cache has dropped."""
    return [_span(feature, config) for feature in features]


def _span(feature: MultiModalFeatureSpec, config: PretrainedConfig) -> MediaSpan:
    start = feature.mm_position.offset
    if feature.modality == "audio":
        return AudioSpan(start, feature.mm_position.length)
    merge: int = config.vision_config.spatial_merge_size
    time, height, width = feature_numbers(feature, f"{feature.modality}_grid_thw")
    grid = (int(time), int(height) // merge, int(width) // merge)
    if feature.modality == "image":
        return VisionSpan(start, grid, config.position_id_per_seconds)
    (seconds,) = feature_numbers(feature, "second_per_grid_ts")
    sound, first, first_sound, starts = (
        int(feature_numbers(feature, name)[0])
        for name in ("sound_tokens", "video_first_grid", "sound_first", "sound_starts")
    )
    step = seconds * config.position_id_per_seconds
    # The first window of a video with sound also holds the sound's start token, the last one its end token.
    if sound:
        return SoundVideoSpan(start + starts, grid, step, sound, first, first_sound)
    return VisionSpan(start + starts, grid, step, first)
