"""Where the media of a Qwen3.5-Omni prompt lie: vLLM's multimodal features → `MediaSpan`s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from antiphon_executor.models.qwen3_5_omni.tm_rope import MediaSpan
from antiphon_executor.models.thinker.features import feature_numbers

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def media_spans(features: Sequence[MultiModalFeatureSpec], config: PretrainedConfig) -> list[MediaSpan]:
    """`config`: the Thinker's. A video's span includes its timestamps and its sound.

    Windows of audio that follow each other are one span: between two clips are the tokens around them.
    ValueError for a feature whose data the processor cache has dropped.
    """
    merge: int = config.vision_config.spatial_merge_size
    spans: list[MediaSpan] = []
    heard_until = -1
    for feature in features:
        span = _span(feature, merge)
        if feature.modality == "audio" and span.start == heard_until:
            spans[-1] = replace(spans[-1], length=spans[-1].length + span.length)
        else:
            spans.append(span)
        heard_until = span.start + span.length if feature.modality == "audio" else -1
    return spans


def _span(feature: MultiModalFeatureSpec, merge: int) -> MediaSpan:
    place = feature.mm_position
    if feature.modality == "audio":
        return MediaSpan(place.offset, place.length)
    _, height, width = feature_numbers(feature, f"{feature.modality}_grid_thw")
    grid, heard = (int(height) // merge, int(width) // merge), 0
    if feature.modality == "video":
        heard = int(feature_numbers(feature, "sound_first")[0])
    return MediaSpan(place.offset, place.length, grid, heard)
