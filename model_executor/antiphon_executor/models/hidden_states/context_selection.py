"""Selects the part of a prompt that the Talker gets: which hidden states, and which positions, by family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.models.layers.packed_mrope import pack
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, is_projected, user_tokens
from antiphon_executor.models.qwen3_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_omni.positions import prompt_positions
from antiphon_executor.models.special_tokens import PromptIds

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from vllm.multimodal.inputs import MultiModalFeatureSpec

Indices = NDArray[np.int32]


class ContextSelection(Protocol):
    """`token_ids`: int32 [n], the whole prompt, media expanded."""

    def rows(self, token_ids: Indices) -> Indices:
        """Ascending prompt indices of the hidden states to send."""
        ...

    def positions(self, token_ids: Indices, features: Sequence[MultiModalFeatureSpec]) -> Indices:
        """The `positions` of `messages.HiddenStates`: [3, n] packed, or [3, 0]."""
        ...


class AllMedia:
    """Qwen3-Omni: all media in user segments; the Talker's positions follow the Thinker's."""

    def __init__(self, config: PretrainedConfig) -> None:
        self._ids = PromptIds.of(config)
        self._thinker = config.thinker_config

    def rows(self, token_ids: Indices) -> Indices:
        return self._ids.user_media(token_ids)

    def positions(self, token_ids: Indices, features: Sequence[MultiModalFeatureSpec]) -> Indices:
        return pack(prompt_positions(len(token_ids), media_spans(features, self._thinker)))


class ProjectedContent:
    """Qwen3.5-Omni: media, evenly spaced, at most `max_media_rows` of the checkpoint, and user text if its
    layout projects that. The Talker has own positions. The same rows as `talker_prompt` selects.
    """

    def __init__(self, config: Qwen3_5OmniMoeConfig) -> None:
        self._ids = PromptIds.of(config)
        self._most: int = config.talker_config.max_media_rows
        self._projects_text = PromptLayout.of(config).projects_text

    def rows(self, token_ids: Indices) -> Indices:
        kept = user_tokens(token_ids, self._ids, self._most)
        projected = is_projected(token_ids, self._ids, projects_text=self._projects_text)
        return kept[projected[kept]].astype(np.int32)

    def positions(self, token_ids: Indices, features: Sequence[MultiModalFeatureSpec]) -> Indices:
        return np.zeros((3, 0), dtype=np.int32)


def context_selection_of(config: PretrainedConfig) -> ContextSelection:
    """`config`: the whole checkpoint's."""
    if isinstance(config, Qwen3_5OmniMoeConfig):
        return ProjectedContent(config)
    return AllMedia(config)
