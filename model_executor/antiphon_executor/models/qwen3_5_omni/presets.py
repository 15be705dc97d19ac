"""Named configurations of the family: `nano`, which can be trained on a laptop, and the published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon_executor.models.config_token_ids import checkpoint_token_ids, thinker_media_token_ids
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig

# Sizes of the open Qwen3.5-397B-A17B.
_LARGER_THINKER = {
    "hidden_size": 4096,
    "num_hidden_layers": 60,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 64,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 1024,
    "shared_expert_intermediate_size": 1024,
}

NANO_CODES = 512
NANO_GROUPS = 8
NANO_CONTEXT = 262_144
NANO_SPOKEN_CONTEXT = 65_536
# Its Talker was trained with at most this many; its projection of further ones would be zero.
NANO_MEDIA_ROWS = 24

_NANO_ROPE = {
    "rope_type": "default",
    "rope_theta": 1_000_000.0,
    "partial_rotary_factor": 0.5,
    "mrope_section": [6, 5, 5],
    "mrope_interleaved": True,
}
_NANO_BACKBONE = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 256,
    "rope_parameters": _NANO_ROPE,
}


def published() -> Qwen3_5OmniMoeConfig:
    """The published sizes: the Thinker of the open Qwen3.5-35B-A3B and the Talker as described."""
    return Qwen3_5OmniMoeConfig()


def larger() -> Qwen3_5OmniMoeConfig:
    """A Thinker of the size of the larger open Qwen3.5 (400 billion parameters) with the same Talker.

    For planning only: no sizes of such an omni model are published.
    """
    return Qwen3_5OmniMoeConfig(
        thinker_config={"text_config": _LARGER_THINKER}, talker_config={"accept_hidden_layer": 30}
    )


def nano(ids: Mapping[str, int]) -> Qwen3_5OmniMoeConfig:
    """`ids`: token to id of the whole vocabulary, including control tokens and the three role names."""
    return Qwen3_5OmniMoeConfig(
        thinker_config=_nano_thinker(ids),
        talker_config=_nano_talker(ids),
        code2wav_config=_nano_code2wav(),
        **checkpoint_token_ids(ids),
    )


def _nano_thinker(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "text_config": _NANO_BACKBONE
        | {
            "vocab_size": len(ids),
            # With only one attention layer it could retrieve a word but little of its context.
            "layer_types": 2 * ["linear_attention", "linear_attention", "full_attention"],
            "num_hidden_layers": 6,
            "moe_intermediate_size": 256,
            "max_position_embeddings": NANO_CONTEXT,
            "eos_token_id": ids["<|im_end|>"],
        },
        "audio_config": {
            "d_model": 192,
            "encoder_layers": 4,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 576,
            "downsample_hidden_size": 48,
        },
        "vision_config": {
            "depth": 4,
            "hidden_size": 128,
            "num_heads": 4,
            "intermediate_size": 512,
            "num_position_embeddings": 256,
        },
        **thinker_media_token_ids(ids),
    }


def _nano_talker(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "text_config": _NANO_BACKBONE
        | {
            "vocab_size": len(ids),
            "num_hidden_layers": 5,
            "moe_intermediate_size": 192,
            "max_position_embeddings": NANO_SPOKEN_CONTEXT,
        },
        "code_predictor_config": {
            "vocab_size": NANO_CODES,
            "hidden_size": 192,
            "intermediate_size": 576,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 48,
            "max_position_embeddings": 64,
        },
        "num_code_groups": NANO_GROUPS,
        "codec_vocab_size": NANO_CODES + 16,
        "suppressed_codes": 16,
        "codec_pad_id": NANO_CODES,
        "codec_bos_id": NANO_CODES + 1,
        "codec_eos_token_id": NANO_CODES + 2,
        "accept_hidden_layer": 3,
        "max_media_rows": NANO_MEDIA_ROWS,
    }


def _nano_code2wav() -> dict[str, Any]:
    return {
        "codebook_size": NANO_CODES,
        "hidden_size": 192,
        "intermediate_size": 576,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "decoder_dim": 128,
    }
