"""Qwen3-Omni's Thinker: vLLM's, which also caches the hidden states that the Talker needs.

Only `thinker.*` of the checkpoint is read. The hidden states of the layer that the Talker accepts go into a
paged cache; `models/hidden_states` sends them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from vllm.config import CompilationMode, VllmConfig
from vllm.model_executor.models.qwen3_omni_moe_thinker import Qwen3OmniMoeThinkerForConditionalGeneration
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFeatureSpec

from antiphon_executor.models.layers.cpu_rms_norm import use_cpu_rms_norm
from antiphon_executor.models.layers.hidden_states_cache import HiddenStatesCache, speaks
from antiphon_executor.models.layers.packed_mrope import PackedMRope, pack, pack_offset
from antiphon_executor.models.qwen3_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_omni.positions import merge_order, prompt_positions
from antiphon_executor.models.qwen3_omni.processor import (
    VIDEO_SIZE,
    ThinkerDummyInputs,
    ThinkerProcessingInfo,
    ThinkerProcessor,
)
from antiphon_executor.models.thinker.stored_pixels import PixelReader

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.model_executor.models.qwen3_omni_moe_thinker.Qwen3OmniMoeThinkerForConditionalGeneration": (
        "_embed_text_input_ids(input_ids, embed_input_ids, is_multimodal)",
        "_process_audio_input(audio_input)",
        "_set_deepstack_input_embeds(deepstack_input_embeds)",
        "deepstack_input_embeds",
        "deepstack_num_level",
    ),
}


@MULTIMODAL_REGISTRY.register_processor(
    ThinkerProcessor, info=ThinkerProcessingInfo, dummy_inputs=ThinkerDummyInputs
)
class Qwen3OmniThinker(Qwen3OmniMoeThinkerForConditionalGeneration):
    """Upstream's Thinker with packed positions, videos merged with sound, and the hidden-states cache."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        use_cpu_rms_norm()
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._pixels = PixelReader.of(vllm_config.model_config, size=VIDEO_SIZE)
        self._use_packed_positions()
        # A compiler computes the angles once for all layers, but needs the integers that vLLM announces.
        self._has_eager_layers = vllm_config.compilation_config.mode == CompilationMode.NONE
        self._rope_dtype = vllm_config.model_config.dtype
        text = self.config.text_config
        self.hidden_states_cache: HiddenStatesCache | None = None
        if not speaks(vllm_config):
            return
        self.accept_layer: int = vllm_config.model_config.hf_config.talker_config.accept_hidden_layer
        self.accepts_output = self.accept_layer == text.num_hidden_layers
        if not self.accepts_output:
            self.set_aux_hidden_state_layers((self.accept_layer,))
        self.hidden_states_cache = HiddenStatesCache(
            vllm_config, text.hidden_size, text.num_hidden_layers, prefix
        )

    def _use_packed_positions(self) -> None:
        text = self.config.text_config
        self._rope = rope = PackedMRope(
            text.head_dim, text.rope_parameters["rope_theta"], text.rope_parameters["mrope_section"]
        )
        for layer in self.language_model.model.layers:
            layer.self_attn.rotary_emb = rope

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[MultiModalFeatureSpec]
    ) -> tuple[torch.Tensor, int]:
        """Packed positions [3, num_tokens], and a later token's packed position minus its index."""
        num_tokens = len(input_tokens)
        positions = prompt_positions(num_tokens, media_spans(mm_features, self.config))
        offset = float(positions.max()) + 1 - num_tokens
        return torch.from_numpy(pack(positions)).long(), pack_offset(offset)

    def embed_multimodal(self, **kwargs: object) -> list[torch.Tensor]:
        """One embedding per item: audio [tokens, hidden], else [tokens, hidden * (1 + deepstack levels)]."""
        if "pixel_values_videos" in kwargs:
            kwargs = {**kwargs, "pixel_values_videos": self._read_pixels(kwargs["pixel_values_videos"])}
        embeddings = list(super().embed_multimodal(**kwargs) or ())
        sound_lengths = cast("torch.Tensor | None", kwargs.get("sound_lengths"))
        if sound_lengths is None or not int(sound_lengths.sum()):
            return embeddings
        return self._merge_sound(embeddings, sound_lengths.flatten().tolist(), kwargs)

    def _read_pixels(self, items: Any) -> torch.Tensor:
        """The pixel values of all windows of a step, joined as upstream expects them."""
        device = next(self.visual.parameters()).device
        return torch.cat([self._pixels.read(item, device) for item in items])

    def _process_audio_input(self, audio_input: Any) -> tuple[torch.Tensor, ...]:
        """Encodes clips so that none depends on the others in its batch.

        The tower pads a clip shorter than a second to the length of its neighbours, and the padding leaks
        through the convolutions into its last tokens (in transformers' tower as in vLLM's). Such clips are
        therefore encoded one by one; a longer clip has a full window of its own.
        """
        lengths: list[int] = audio_input["audio_feature_lengths"].flatten().tolist()
        window = 2 * self.config.audio_config.n_window
        groups = [[index for index, length in enumerate(lengths) if length >= window]]
        groups += [[index] for index, length in enumerate(lengths) if length < window]
        clips = audio_input["input_features"].split(lengths, dim=1)
        encoded: dict[int, torch.Tensor] = {}
        for group in filter(None, groups):
            outputs = super()._process_audio_input(
                {
                    "input_features": torch.cat([clips[index] for index in group], dim=1),
                    "audio_feature_lengths": torch.tensor([lengths[index] for index in group]),
                }
            )
            encoded.update(zip(group, outputs, strict=True))
        return tuple(encoded[index] for index in range(len(lengths)))

    def _merge_sound(
        self, videos: list[torch.Tensor], lengths: list[int], kwargs: dict[str, Any]
    ) -> list[torch.Tensor]:
        heard = [length for length in lengths if length]
        sounds = iter(
            self._process_audio_input(
                {
                    "input_features": kwargs["sound_features"],
                    "audio_feature_lengths": torch.tensor(heard),
                }
            )
        )
        merge = self.config.vision_config.spatial_merge_size
        places = ("second_per_grid_ts", "video_first_grid", "sound_first", "sound_skip", "sound_tokens")
        numbers = zip(*(kwargs[name].flatten().tolist() for name in places), strict=True)
        merged = []
        for video, length, grid, (seconds, first, first_sound, skipped, tokens) in zip(
            videos, lengths, kwargs["video_grid_thw"].tolist(), numbers, strict=True
        ):
            if not length:
                merged.append(video)
                continue
            sound = next(sounds)[skipped : skipped + tokens]
            # Sound has no deepstack features; zeros add nothing to the layers.
            sound = torch.nn.functional.pad(sound, (0, video.shape[1] - sound.shape[1]))
            order = merge_order(
                (grid[0], grid[1] // merge, grid[2] // merge),
                seconds * self.config.position_id_per_seconds,
                len(sound),
                first,
                first_sound,
            )
            merged.append(torch.cat((video, sound))[torch.from_numpy(order).to(video.device)])
        return merged

    def embed_input_ids(
        self,
        input_ids: torch.Tensor,
        multimodal_embeddings: Any = None,
        *,
        is_multimodal: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Text embeddings with those of media in place, [num_tokens, hidden]; deepstack goes to its buffers.

        Upstream takes interleaved audio from separate items. Here a video's item includes its sound, so the
        embeddings are written in order.
        """
        embeds = self._embed_text_input_ids(
            input_ids, self.language_model.embed_input_ids, is_multimodal=is_multimodal
        )
        if is_multimodal is None or multimodal_embeddings is None or not len(multimodal_embeddings):
            return embeds
        hidden = embeds.shape[1]
        embeds[is_multimodal] = torch.cat([item[:, :hidden] for item in multimodal_embeddings]).to(
            embeds.dtype
        )
        if self.deepstack_num_level and any(item.shape[1] > hidden for item in multimodal_embeddings):
            width = self.deepstack_num_level * hidden
            deep = embeds.new_zeros(len(embeds), width)
            deep[is_multimodal] = torch.cat(
                [
                    item[:, hidden:] if item.shape[1] > hidden else item.new_zeros(len(item), width)
                    for item in multimodal_embeddings
                ]
            ).to(deep.dtype)
            levels = deep.view(len(embeds), self.deepstack_num_level, hidden)
            self._set_deepstack_input_embeds(levels.permute(1, 0, 2).contiguous())
        return embeds

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: object,
    ) -> torch.Tensor:
        """Last hidden states [num_tokens, hidden]; those of the accepted layer are written to the cache."""
        if self._has_eager_layers:
            positions = self._rope.table(positions, self._rope_dtype)
        late = self._added_after_accept_layer(inputs_embeds) if self.hidden_states_cache else None
        output = super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)
        if self.hidden_states_cache is None:
            return cast("torch.Tensor", output)
        if self.accepts_output:
            hidden = rows = output
        else:
            hidden, (rows,) = output
        self.hidden_states_cache(rows if late is None else rows - late)
        return cast("torch.Tensor", hidden)

    def _added_after_accept_layer(self, inputs_embeds: torch.Tensor | None) -> torch.Tensor | None:
        """What deepstack adds directly after the accepted layer; None if it adds nothing there.

        transformers captures a layer's output before the addition, vLLM after it. In the released model the
        accepted layer is 24, well after the last addition.
        """
        if inputs_embeds is None or not 0 < self.accept_layer <= self.deepstack_num_level:
            return None
        return self.deepstack_input_embeds[self.accept_layer - 1][: len(inputs_embeds)].clone()
