"""Qwen3.5-Omni's Thinker: vLLM's hybrid Qwen3.5 with an audio tower and the hidden-states cache.

Only `thinker.*` of the checkpoint is read. The hidden states of the layer that the Talker accepts go into a
paged cache; `models/hidden_states` sends them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.model_executor.models.qwen3_5 import Qwen3_5MoeForConditionalGeneration
from vllm.model_executor.models.utils import WeightsMapper, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFeatureSpec

from antiphon_executor.models.layers import gated_delta_net as gated_delta  # noqa: F401 - plugs itself in
from antiphon_executor.models.layers.hidden_states_cache import HiddenStatesCache, speaks
from antiphon_executor.models.qwen3_5_omni.audio_tower import AudioTower
from antiphon_executor.models.qwen3_5_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_5_omni.processor import (
    Qwen3_5ThinkerDummyInputs,
    Qwen3_5ThinkerProcessingInfo,
    Qwen3_5ThinkerProcessor,
)
from antiphon_executor.models.qwen3_5_omni.tm_rope import TmRope
from antiphon_executor.models.qwen3_5_omni.vision_chunks import encode_in_chunks
from antiphon_executor.models.thinker.stored_pixels import PixelReader

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.model_executor.models.qwen3_5.Qwen3_5MoeForConditionalGeneration": (
        "_mark_tower_model(vllm_config, modalities, targets)",
    ),
}


@MULTIMODAL_REGISTRY.register_processor(
    Qwen3_5ThinkerProcessor, info=Qwen3_5ThinkerProcessingInfo, dummy_inputs=Qwen3_5ThinkerDummyInputs
)
class Qwen3_5OmniThinker(Qwen3_5MoeForConditionalGeneration):  # noqa: N801 - the family's name
    """Modules: `audio_tower`, `visual`, `language_model`."""

    # The checkpoint's processor normalizes pixels already; video pruning would change positions.
    supports_mm_device_do_normalize = False
    supports_multimodal_pruning = False
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "thinker.lm_head.": "language_model.lm_head.",
            "thinker.model.": "language_model.model.",
            "thinker.": "",
            "talker.": None,
            "code2wav.": None,
            "audio_tokenizer.": None,
        }
    )

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        whole = vllm_config.model_config.hf_config
        thinker = whole.thinker_config
        super().__init__(
            vllm_config=vllm_config.with_hf_config(thinker, architectures=whole.architectures), prefix=prefix
        )
        with self._mark_tower_model(vllm_config, "audio"):
            self.audio_tower = AudioTower(thinker.audio_config, prefix=maybe_prefix(prefix, "audio_tower"))
        self._rope = TmRope(thinker)
        self._pixels = PixelReader.of(vllm_config.model_config)
        self.hidden_states_cache: HiddenStatesCache | None = None
        if not speaks(vllm_config):
            return
        layer: int = whole.talker_config.accept_hidden_layer
        self._accepts_output = layer == thinker.text_config.num_hidden_layers
        if not self._accepts_output:
            self.language_model.set_aux_hidden_state_layers((layer,))
        text = thinker.text_config
        self.hidden_states_cache = HiddenStatesCache(
            vllm_config, text.hidden_size, text.num_hidden_layers, prefix
        )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        if modality == "audio":
            return "<|audio_start|><|audio_pad|><|audio_end|>"
        return cast("str | None", super().get_placeholder_str(modality, i))

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[MultiModalFeatureSpec]
    ) -> tuple[Tensor, int]:
        """Positions [3, num_tokens], and a later token's position minus its index."""
        spans = media_spans(mm_features, self.config)
        positions = self._rope.positions(np.asarray(input_tokens, dtype=np.int64), spans)
        following = int(positions.max()) + 1 if positions.size else 0
        return torch.from_numpy(positions), following - len(input_tokens)

    def embed_multimodal(self, **kwargs: Any) -> list[Tensor]:
        """One embedding per item, [tokens, hidden]; the arguments are batched `media.MediaFields`."""
        embeddings: list[Tensor] = []
        if "input_audio_features" in kwargs:
            # A list, or one tensor if all windows have the same length.
            embeddings += [self.audio_tower(mel) for mel in kwargs["input_audio_features"]]
        if "pixel_values" in kwargs:
            embeddings += self._encode_vision(kwargs["pixel_values"], kwargs["image_grid_thw"])
        if "pixel_values_videos" in kwargs:
            embeddings += self._with_sound(self._encode_videos(kwargs), kwargs)
        return embeddings

    def _encode_vision(self, pixels: Tensor | list[Tensor], grids: Tensor) -> list[Tensor]:
        """Encodes each picture alone: [patches / merge², hidden]."""
        parts = _items(pixels, grids.prod(-1), dim=0)
        return [
            encode_in_chunks(self.visual, item, grid)
            for item, grid in zip(parts, grids.tolist(), strict=True)
        ]

    def _encode_videos(self, kwargs: dict[str, Any]) -> list[Tensor]:
        """The rows of each video or window, of which one at a time has its pixel values in memory."""
        device = next(self.visual.parameters()).device
        grids = kwargs["video_grid_thw"].tolist()
        return [
            encode_in_chunks(self.visual, self._pixels.read(item, device), grid)
            for item, grid in zip(kwargs["pixel_values_videos"], grids, strict=True)
        ]

    def _with_sound(self, videos: list[Tensor], kwargs: dict[str, Any]) -> list[Tensor]:
        """The rows of videos and of their sound, in prompt order."""
        mels = _items(kwargs["sound_features"], kwargs["sound_lengths"])
        sounds = [self.audio_tower(mel) if mel.shape[1] else None for mel in mels]
        skipped = kwargs["sound_skip"].flatten().tolist()
        return [
            video if sound is None else _interleaved(video, sound[skip:], mask)
            for video, sound, skip, mask in zip(videos, sounds, skipped, kwargs["sound_mask"], strict=True)
        ]

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Last hidden states [num_tokens, hidden]; those of the accepted layer are written to the cache."""
        output = super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)
        if self.hidden_states_cache is None:
            return cast("Tensor", output)
        if self._accepts_output:
            hidden = rows = output
        else:
            hidden, (rows,) = output
        self.hidden_states_cache(rows)
        return cast("Tensor", hidden)


def _items(joined: Tensor | list[Tensor], sizes: Tensor, dim: int = -1) -> list[Tensor]:
    """Splits what vLLM has joined into one tensor into items."""
    if isinstance(joined, list):
        return joined
    return list(joined.split(sizes.flatten().tolist(), dim=dim))


def _interleaved(video: Tensor, sound: Tensor, is_sound: Tensor) -> Tensor:
    """`sound`: rows from the window's first sound token on, also those after its last one."""
    is_sound = is_sound.to(video.device)
    rows = video.new_empty(len(is_sound), video.shape[1])
    rows[~is_sound] = video
    rows[is_sound] = sound[: len(rows) - len(video)].to(video.dtype)
    return rows
