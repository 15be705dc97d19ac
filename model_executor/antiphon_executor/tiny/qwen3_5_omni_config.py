"""The tiny Qwen3.5-Omni checkpoint's configuration: every part of the family, at a hundredth of its width.

In: the tokenizer's ids. Out: a `Qwen3_5OmniMoeConfig`. What the family has (hybrid layers, 16 code groups, a
text table of the Talker's own, a predictor narrower than its Talker, contexts) is kept; what only makes it
big is not. No two parts that could be mistaken for each other are equally wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.tiny.config import CODE_GROUPS, CODEBOOK, IMAGE_SIZE, PATCH, RESERVED_CODEC_IDS

CONTEXT = 262_144
TALKER_CONTEXT = 65_536
THINKER_HIDDEN = 128
TALKER_HIDDEN = 96
PREDICTOR_HIDDEN = 64
ACCEPT_LAYER = 2
# Twenty minutes of sound are more tokens than this: the subsampling of media rows is exercised.
MAX_MEDIA_ROWS = 4_096

# Three gated-DeltaNet layers, then one of attention; heads of sizes that vLLM's kernels take, a CPU's too.
_BACKBONE: dict[str, Any] = {
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    # Few experts: two that are nearly as good are rare, so bfloat16 seldom chooses another than float32.
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
        code2wav_config=_code2wav(),
        im_start_token_id=ids["<|im_start|>"],
        im_end_token_id=ids["<|im_end|>"],
        tts_pad_token_id=ids["<tts_pad>"],
        tts_bos_token_id=ids["<tts_text_bos>"],
        tts_eos_token_id=ids["<tts_text_eod>"],
        system_token_id=ids["system"],
        user_token_id=ids["user"],
        assistant_token_id=ids["assistant"],
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
        "audio_config": {
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "downsample_hidden_size": 32,
        },
        "vision_config": {
            "depth": 3,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "patch_size": PATCH,
            "num_position_embeddings": (IMAGE_SIZE // PATCH) ** 2,
        },
        "audio_token_id": ids["<|audio_pad|>"],
        "audio_start_token_id": ids["<|audio_start|>"],
        "audio_end_token_id": ids["<|audio_end|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
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
        "code_predictor_config": {
            "vocab_size": CODEBOOK,
            "hidden_size": PREDICTOR_HIDDEN,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 64,
        },
        "num_code_groups": CODE_GROUPS,
        "codec_vocab_size": CODEBOOK + RESERVED_CODEC_IDS,
        "suppressed_codes": RESERVED_CODEC_IDS,
        "codec_pad_id": special,
        "codec_bos_id": special + 1,
        "codec_eos_token_id": special + 2,
        "accept_hidden_layer": ACCEPT_LAYER,
        "max_media_rows": MAX_MEDIA_ROWS,
    }


def _code2wav() -> dict[str, Any]:
    return {
        "codebook_size": CODEBOOK,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "decoder_dim": 96,
    }
