"""Reads numbers out of the multimodal features that vLLM keeps for a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def feature_numbers(feature: MultiModalFeatureSpec, field: str) -> list[float]:
    """One field's values, flattened. ValueError if the processor cache has dropped the item's data."""
    if feature.data is None:
        raise ValueError(f"the {feature.modality} at token {feature.mm_position.offset} has lost its data")
    numbers: list[float] = feature.data[field].data.flatten().tolist()
    return numbers
