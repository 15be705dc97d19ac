"""Sizes that the tiny checkpoints of both families share."""

from __future__ import annotations

from typing import Any

CODEBOOK = 256
CODE_GROUPS = 16
RESERVED_CODEC_IDS = 1024
THINKER_HIDDEN = 128
IMAGE_SIZE = 128
PATCH = 16

AUDIO_ENCODER: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "downsample_hidden_size": 32,
}
VISION_ENCODER: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 4,
    "patch_size": PATCH,
    "num_position_embeddings": (IMAGE_SIZE // PATCH) ** 2,
}
CODE_PREDICTOR: dict[str, Any] = {
    "vocab_size": CODEBOOK,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}
CODE2WAV: dict[str, Any] = {
    "codebook_size": CODEBOOK,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "decoder_dim": 96,
}
