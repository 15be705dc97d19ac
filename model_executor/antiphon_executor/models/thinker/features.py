"""Reads the media spans of a prompt out of vLLM's multimodal features.

In: the features of one request, as the family's processor made them. Out: `MediaSpan`s of Qwen3-Omni, which
both the worker (for its own rotations) and the scheduler (for the Talker's prompt) read; `MediumSpan`s of
Qwen3.5-Omni.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from antiphon_executor.models.thinker.positions import AudioSpan, MediaSpan, SoundVideoSpan, VisionSpan
from antiphon_executor.models.thinker.tm_rope import MediumSpan

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def media_spans(features: Sequence[MultiModalFeatureSpec], config: PretrainedConfig) -> list[MediaSpan]:
    """`config`: the Thinker's. Raises ValueError for a feature whose data the processor cache has dropped."""
    return [_span(feature, config) for feature in features]


def _span(feature: MultiModalFeatureSpec, config: PretrainedConfig) -> MediaSpan:
    start = feature.mm_position.offset
    if feature.modality == "audio":
        return AudioSpan(start, feature.mm_position.length)
    merge: int = config.vision_config.spatial_merge_size
    time, height, width = _numbers(feature, f"{feature.modality}_grid_thw")
    grid = (int(time), int(height) // merge, int(width) // merge)
    if feature.modality == "image":
        return VisionSpan(start, grid, config.position_id_per_seconds)
    (seconds,) = _numbers(feature, "second_per_grid_ts")
    (sound,) = _numbers(feature, "sound_tokens")
    step = seconds * config.position_id_per_seconds
    if sound:
        # One token before and one after: the sound's start and end.
        return SoundVideoSpan(start + 1, grid, step, int(sound))
    return VisionSpan(start, grid, step)


def medium_spans(features: Sequence[MultiModalFeatureSpec], config: PretrainedConfig) -> list[MediumSpan]:
    """Qwen3.5-Omni's, as `media_spans`. A video's span holds its timestamps and its sound."""
    merge: int = config.vision_config.spatial_merge_size
    return [_medium_span(feature, merge) for feature in features]


def _medium_span(feature: MultiModalFeatureSpec, merge: int) -> MediumSpan:
    place = feature.mm_position
    if feature.modality == "audio":
        return MediumSpan(place.offset, place.length)
    _, height, width = _numbers(feature, f"{feature.modality}_grid_thw")
    return MediumSpan(place.offset, place.length, (int(height) // merge, int(width) // merge))


def _numbers(feature: MultiModalFeatureSpec, field: str) -> list[float]:
    if feature.data is None:
        raise ValueError(f"the {feature.modality} at token {feature.mm_position.offset} has lost its data")
    numbers: list[float] = feature.data[field].data.flatten().tolist()
    return numbers
