"""Configuration of the tiny Qwen3-Omni checkpoint: every part of the released model, far narrower.

What the released model's code depends on (16 code groups, 1024 reserved codec ids, deepstack, M-RoPE
sections) is the same. `RELEASED` has the released Talker's own sizes, below a narrow Thinker.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.models.config_token_ids import (
    checkpoint_token_ids,
    media_token_ids,
    thinker_media_token_ids,
)
from antiphon_executor.tiny.sizes import (
    AUDIO_ENCODER,
    CODE2WAV,
    CODE_GROUPS,
    CODE_PREDICTOR,
    CODEBOOK,
    IMAGE_SIZE,
    RESERVED_CODEC_IDS,
    THINKER_HIDDEN,
    VISION_ENCODER,
)

SPEAKERS = ("chelsie", "ethan", "aiden")
CONTEXT = 65_536
POSITIONS_PER_SECOND = {"position_id_per_seconds": 13}


@dataclass(frozen=True, slots=True)
class TalkerSizes:
    """Sizes of the Talker, the code predictor and the vocoder, as keys of their configurations.

    `thinker_hidden`: width of the Thinker, whose hidden states the Talker reads.
    """

    thinker_hidden: int
    codebook: int
    backbone: Mapping[str, Any]
    predictor: Mapping[str, Any]
    vocoder: Mapping[str, Any]


TINY = TalkerSizes(
    thinker_hidden=THINKER_HIDDEN,
    codebook=CODEBOOK,
    backbone={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    },
    predictor=CODE_PREDICTOR | {"hidden_size": 64},
    vocoder=CODE2WAV,
)
RELEASED = TalkerSizes(
    thinker_hidden=2_048,
    codebook=2_048,
    backbone={
        "hidden_size": 1_024,
        "intermediate_size": 2_048,
        "num_hidden_layers": 20,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 6,
        "moe_intermediate_size": 384,
        "shared_expert_intermediate_size": 768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    },
    predictor={
        "vocab_size": 2_048,
        "hidden_size": 1_024,
        "intermediate_size": 3_072,
        "num_hidden_layers": 5,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    vocoder={
        "codebook_size": 2_048,
        "hidden_size": 1_024,
        "intermediate_size": 3_072,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "decoder_dim": 1_536,
    },
)


def tiny_config(ids: Mapping[str, int], sizes: TalkerSizes = TINY) -> Qwen3OmniMoeConfig:
    """`ids`: token to id, of the added tokens and of the three role names."""
    return Qwen3OmniMoeConfig(
        thinker_config=_thinker(ids, sizes.thinker_hidden),
        talker_config=_talker(ids, sizes),
        code2wav_config=_code2wav(sizes),
        **checkpoint_token_ids(ids),
    )


def _thinker(ids: Mapping[str, int], hidden: int) -> dict[str, Any]:
    return {
        "audio_config": AUDIO_ENCODER
        | {
            "output_dim": hidden,
            "num_mel_bins": 128,
            "n_window": 50,
            "n_window_infer": 800,
            "conv_chunksize": 500,
        },
        "vision_config": VISION_ENCODER
        | {
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": hidden,
            "deepstack_visual_indexes": [0, 1],
            # vLLM 0.32 reads these from the released config; transformers 5.19 does not define them.
            "image_size": IMAGE_SIZE,
            "apply_vit_abs_pos_embed": True,
        },
        "text_config": _backbone()
        | {
            "vocab_size": len(ids),
            "hidden_size": hidden,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "moe_intermediate_size": 64,
            # vLLM 0.32 reads these from the released config; transformers 5.19 does not define them.
            "tie_word_embeddings": False,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        "user_token_id": ids["user"],
        **POSITIONS_PER_SECOND,
        **thinker_media_token_ids(ids),
    }


def _talker(ids: Mapping[str, int], sizes: TalkerSizes) -> dict[str, Any]:
    # The released model has 2048 codes, then pad, bos and eos from 2148, and the speakers from 2301.
    special = sizes.codebook + 100
    return {
        "text_config": _backbone()
        | {"vocab_size": sizes.codebook + RESERVED_CODEC_IDS, "norm_topk_prob": True}
        | deepcopy(dict(sizes.backbone)),
        "code_predictor_config": {
            "max_position_embeddings": 64,
            **sizes.predictor,
            "num_code_groups": CODE_GROUPS,
        },
        "num_code_groups": CODE_GROUPS,
        "thinker_hidden_size": sizes.thinker_hidden,
        "accept_hidden_layer": 3,
        "codec_pad_id": special,
        "codec_bos_id": special + 1,
        "codec_eos_token_id": special + 2,
        "codec_nothink_id": special + 7,
        "codec_think_bos_id": special + 8,
        "codec_think_eos_id": special + 9,
        "speaker_id": {name: sizes.codebook + 253 + index for index, name in enumerate(SPEAKERS)},
        "spatial_merge_size": 2,
        **POSITIONS_PER_SECOND,
        **media_token_ids(ids),
    }


def _code2wav(sizes: TalkerSizes) -> dict[str, Any]:
    return dict(sizes.vocoder) | {
        "num_quantizers": CODE_GROUPS,
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
        "sliding_window": 72,
    }


def _backbone() -> dict[str, Any]:
    """Sizes that both backbones share; a new dict each time, because transformers changes it."""
    return {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "max_position_embeddings": CONTEXT,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
    }
