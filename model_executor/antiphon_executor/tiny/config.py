"""The tiny checkpoint's configuration: every part of the released model, at about a thousandth of its width.

In: the tokenizer's ids. Out: a `Qwen3OmniMoeConfig`. What the released model has (16 code groups, 1024
reserved codec ids, deepstack, M-RoPE sections) is kept; what only makes it big is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

CODEBOOK = 256
CODE_GROUPS = 16
RESERVED_CODEC_IDS = 1024
SPEAKERS = ("chelsie", "ethan", "aiden")
POSITIONS_PER_SECOND = 13
THINKER_HIDDEN = 128
TALKER_HIDDEN = 64
CONTEXT = 65_536
IMAGE_SIZE = 128
PATCH = 16

_ROPE = {
    "rope_type": "default",
    "rope_theta": 1_000_000.0,
    "mrope_section": [6, 5, 5],
    "mrope_interleaved": True,
}


def tiny_config(ids: Mapping[str, int]) -> Qwen3OmniMoeConfig:
    """`ids`: token to id, of the added tokens and of the three role names."""
    return Qwen3OmniMoeConfig(
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


def _media_ids(ids: Mapping[str, int]) -> dict[str, int]:
    return {
        "audio_token_id": ids["<|audio_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "audio_start_token_id": ids["<|audio_start|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "position_id_per_seconds": POSITIONS_PER_SECOND,
    }


def _thinker(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "audio_config": {
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "output_dim": THINKER_HIDDEN,
            "downsample_hidden_size": 32,
            "num_mel_bins": 128,
            "n_window": 50,
            "n_window_infer": 800,
            "conv_chunksize": 500,
        },
        "vision_config": {
            "depth": 3,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": THINKER_HIDDEN,
            "num_position_embeddings": (IMAGE_SIZE // PATCH) ** 2,
            "deepstack_visual_indexes": [0, 1],
            # Read by vLLM 0.32, in the released config, unknown to transformers 5.19.
            "image_size": IMAGE_SIZE,
            "apply_vit_abs_pos_embed": True,
        },
        "text_config": {
            "vocab_size": len(ids),
            "hidden_size": THINKER_HIDDEN,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "moe_intermediate_size": 64,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "max_position_embeddings": CONTEXT,
            "rope_parameters": dict(_ROPE),
            # Read by vLLM 0.32, in the released config, unknown to transformers 5.19.
            "tie_word_embeddings": False,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        "user_token_id": ids["user"],
        "audio_end_token_id": ids["<|audio_end|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        **_media_ids(ids),
    }


def _talker(ids: Mapping[str, int]) -> dict[str, Any]:
    # As in the released model: 2048 codes, then pad, bos and eos from 2148 and the speakers from 2301.
    special = CODEBOOK + 100
    return {
        "text_config": {
            "vocab_size": CODEBOOK + RESERVED_CODEC_IDS,
            "hidden_size": TALKER_HIDDEN,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "moe_intermediate_size": 32,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "shared_expert_intermediate_size": 32,
            "max_position_embeddings": CONTEXT,
            "rope_parameters": dict(_ROPE),
        },
        "code_predictor_config": {
            "vocab_size": CODEBOOK,
            "hidden_size": TALKER_HIDDEN,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_code_groups": CODE_GROUPS,
            "max_position_embeddings": 64,
        },
        "num_code_groups": CODE_GROUPS,
        "thinker_hidden_size": THINKER_HIDDEN,
        "accept_hidden_layer": 3,
        "codec_pad_id": special,
        "codec_bos_id": special + 1,
        "codec_eos_token_id": special + 2,
        "codec_nothink_id": special + 7,
        "codec_think_bos_id": special + 8,
        "codec_think_eos_id": special + 9,
        "speaker_id": {name: CODEBOOK + 253 + index for index, name in enumerate(SPEAKERS)},
        "spatial_merge_size": 2,
        **_media_ids(ids),
    }


def _code2wav() -> dict[str, Any]:
    return {
        "codebook_size": CODEBOOK,
        "num_quantizers": CODE_GROUPS,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "decoder_dim": 96,
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
        "sliding_window": 72,
    }
