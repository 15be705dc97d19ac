"""Configuration of the tiny Qwen3.5-Omni checkpoint: every part of the family, far narrower.

What the family's code depends on (hybrid layers, 16 code groups, the Talker's own text embeddings, a narrower
code predictor, contexts) is the same. Parts that could be confused have different widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon_executor.models.config_token_ids import checkpoint_token_ids, thinker_media_token_ids
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.tiny.sizes import (
    AUDIO_ENCODER,
    CODE2WAV,
    CODE_GROUPS,
    CODE_PREDICTOR,
    CODEBOOK,
    RESERVED_CODEC_IDS,
    THINKER_HIDDEN,
    VISION_ENCODER,
)

CONTEXT = 262_144
TALKER_CONTEXT = 65_536
TALKER_HIDDEN = 96
PREDICTOR_HIDDEN = 64
ACCEPT_LAYER = 2
# Twenty minutes of audio have more tokens than this, so tests can exercise subsampling.
MAX_MEDIA_ROWS = 4_096

# Three gated-DeltaNet layers and one attention layer. vLLM's kernels, on CPUs too, support these head sizes.
_BACKBONE: dict[str, Any] = {
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    # With few experts, near ties are rare, so bfloat16 seldom selects another expert than float32.
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000.0,
        "partial_rotary_factor": 0.25,
        "mrope_section": [3, 3, 2],
        "mrope_interleaved": True,
    },
}


def tiny_config(ids: Mapping[str, int]) -> Qwen3_5OmniMoeConfig:
    """`ids`: token to id, of the added tokens and of the three role names."""
    return Qwen3_5OmniMoeConfig(
        thinker_config=_thinker(ids),
        talker_config=_talker(ids),
        code2wav_config=dict(CODE2WAV),
        **checkpoint_token_ids(ids),
    )


def _thinker(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "text_config": _BACKBONE
        | {
            "vocab_size": len(ids),
            "hidden_size": THINKER_HIDDEN,
            "moe_intermediate_size": 64,
            "shared_expert_intermediate_size": 64,
            "max_position_embeddings": CONTEXT,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        "audio_config": dict(AUDIO_ENCODER),
        "vision_config": dict(VISION_ENCODER),
        **thinker_media_token_ids(ids),
    }


def _talker(ids: Mapping[str, int]) -> dict[str, Any]:
    special = CODEBOOK + 100
    return {
        "text_config": _BACKBONE
        | {
            "vocab_size": len(ids),
            "hidden_size": TALKER_HIDDEN,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "max_position_embeddings": TALKER_CONTEXT,
        },
        "code_predictor_config": CODE_PREDICTOR | {"hidden_size": PREDICTOR_HIDDEN},
        "num_code_groups": CODE_GROUPS,
        "codec_vocab_size": CODEBOOK + RESERVED_CODEC_IDS,
        "suppressed_codes": RESERVED_CODEC_IDS,
        "codec_pad_id": special,
        "codec_bos_id": special + 1,
        "codec_eos_token_id": special + 2,
        "accept_hidden_layer": ACCEPT_LAYER,
        "max_media_rows": MAX_MEDIA_ROWS,
    }
